# A 3D ResNet of 10 layers, trained from scratch. Group normalization has no running statistics
# that SBP would have to freeze.
r3d10 = dict(
    type='ResNet3d', depth=18, stage_blocks=(1, 1, 1), num_stages=3, out_indices=(2, ),
    base_channels=16, spatial_strides=(1, 2, 2), temporal_strides=(1, 1, 1),
    dilations=(1, 1, 1), inflate=(1, 1, 1), conv1_kernel=(3, 7, 7), conv1_stride_t=2,
    pool1_stride_t=1, with_pool2=False, zero_init_residual=False, pretrained=None,
    norm_cfg=dict(type='GN', num_groups=8))

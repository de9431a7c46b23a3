"""Small backbones for the tests of strategies: 3D ResNet and VideoMAE, 16 px, clips of 4."""

R3D = dict(type='ResNet3d', depth=18, stage_blocks=(1, 1), num_stages=2, out_indices=(1, ),
           base_channels=8, spatial_strides=(1, 2), temporal_strides=(1, 1), dilations=(1, 1),
           inflate=(1, 1), conv1_stride_t=1, pool1_stride_t=1, with_pool2=False,
           zero_init_residual=False, pretrained=None, norm_cfg=dict(type='GN', num_groups=4))
VIT = dict(type='VisionTransformer', img_size=16, patch_size=8, embed_dims=16, depth=3,
           num_heads=2, num_frames=4, return_feat_map=True)

_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_short.py']

model = dict(
    backbone=dict(
        type='SBPBackbone',
        keep_ratio=0.25,   # a quarter of the clips is backpropagated, the forward is whole
        clip_len=8,        # 96 frames are 12 clips of 8; 1 would mean frame by frame
        clips_at_once=48,  # in one pass without gradient; bounds its transient memory
        # Any backbone of mmaction: here a 3D ResNet of 10 layers that trains from scratch.
        # Its group normalization has no statistics that SBP would have to freeze.
        backbone=dict(
            type='ResNet3d', depth=18, stage_blocks=(1, 1, 1), num_stages=3, out_indices=(2, ),
            base_channels=16, spatial_strides=(1, 2, 2), temporal_strides=(1, 1, 1),
            dilations=(1, 1, 1), inflate=(1, 1, 1), conv1_kernel=(3, 7, 7), conv1_stride_t=2,
            pool1_stride_t=1, with_pool2=False, zero_init_residual=False, pretrained=None,
            norm_cfg=dict(type='GN', num_groups=8))),
    # ActionFormer's pyramid in small: convolutions for attention, 4 levels for 48 steps.
    neck=dict(in_channels=64, embed_channels=64, num_embed_convs=1, num_stem_blocks=1,
              num_levels=4, block='conv', drop_path=0.0),
    head=dict(num_classes=6, in_channels=64, strides=(1, 2, 4, 8),
              regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)), normalizer_start=20))

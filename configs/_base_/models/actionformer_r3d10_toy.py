# A detector for the toy set: a 3D ResNet of 10 layers and ActionFormer in small.
_base_ = ['actionformer.py', 'r3d10_backbone.py']

model = dict(
    backbone=dict(
        type='SBPBackbone',
        clip_len=8,        # 96 frames are 12 clips of 8; 1 would mean frame by frame
        clips_at_once=48,  # in one pass without gradient; bounds its transient memory
        backbone=_base_.r3d10),
    # ActionFormer's pyramid in small: convolutions for attention, 4 levels for 48 steps.
    neck=dict(in_channels=64, embed_channels=64, num_embed_convs=1, num_stem_blocks=1,
              num_levels=4, block='conv', drop_path=0.0),
    head=dict(num_classes=6, in_channels=64, strides=(1, 2, 4, 8),
              regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)), normalizer_start=20))

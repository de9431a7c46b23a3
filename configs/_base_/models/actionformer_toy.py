# A small ActionFormer pyramid: convolutions instead of attention, 4 levels for 48 steps.
_base_ = 'actionformer.py'

model = dict(
    neck=dict(in_channels=64, embed_channels=64, num_embed_convs=1, num_stem_blocks=1,
              num_levels=4, block='conv', drop_path=0.0),
    head=dict(num_classes=6, in_channels=64, strides=(1, 2, 4, 8),
              regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)), normalizer_start=20))

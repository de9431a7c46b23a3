# Neck and head of the toy detector on features that its backbone extracted
# (tools/extract_features.py). The backbone is not trained, so an iteration is fast.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_features.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_short.py']

model = dict(
    backbone=None,
    neck=dict(in_channels=64, embed_channels=64, num_embed_convs=1, num_stem_blocks=1,
              num_levels=4, block='conv', drop_path=0.0),
    head=dict(num_classes=6, in_channels=64, strides=(1, 2, 4, 8),
              regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)), normalizer_start=20))

# The study with a backbone of single frames (recognizer_cnn4_toy.py), as Sideways needs one: 96
# steps a window, a pyramid of 5 levels.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_6fps.py',
          '../_base_/models/cnn4_backbone.py', '../_base_/models/actionformer_toy.py',
          '../_base_/schedules/adamw_12_epochs.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=1, clips_at_once=256, backbone=_base_.cnn4,
        init_cfg=dict(type='Pretrained', prefix='backbone.',
                      checkpoint='work_dirs/study_pretrain/recognizer_cnn4.pth')),
    neck=dict(in_channels=576, num_levels=5),
    head=dict(strides=(1, 2, 4, 8, 16), regression_ranges=(
        (0, 4), (4, 8), (8, 16), (16, 32), (32, 10000)), normalizer_start=20))

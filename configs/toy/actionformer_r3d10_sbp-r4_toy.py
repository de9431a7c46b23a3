_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy.py',
          '../_base_/models/r3d10_backbone.py', '../_base_/models/actionformer_toy.py',
          '../_base_/schedules/adamw_short.py']

model = dict(backbone=dict(
    type='SBPBackbone',
    keep_ratio=0.25,   # a quarter of the clips is backpropagated, the forward is whole
    clip_len=8,        # 96 frames are 12 clips of 8; 1 would mean frame by frame
    clips_at_once=48,  # at most this many clips per pass; fewer need less memory
    # Any backbone of mmaction: here dict(type='ResNet3d', ...) of 10 layers, from scratch.
    backbone=_base_.r3d10))

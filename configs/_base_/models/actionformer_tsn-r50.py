# ActionFormer's neck and head on ResNet-50 frame by frame, keep ratio 1/4.
_base_ = ['actionformer.py', 'tsn-r50_weights.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=1,
        backbone=dict(type='ResNet', depth=50, pretrained=None)),
    neck=dict(in_channels=2048))

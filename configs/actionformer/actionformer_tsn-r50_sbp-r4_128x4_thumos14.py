# Frame by frame: ResNet-50 over 128 frames at stride 4, a quarter of the backward kept.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=1,
        backbone=dict(type='ResNet', depth=50, pretrained=None)),
    neck=dict(in_channels=2048))

# Kinetics-400 weights of mmaction's TSN; its classification head is reported as unexpected.
load_from = 'https://download.openmmlab.com/mmaction/v1.0/recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb_20220906-2692d16c.pth'  # noqa: E501

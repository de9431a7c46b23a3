# I3D ResNet-50 on windows of 768 frames at 25 fps, 112 px, with full backpropagation.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14_daotad.py',
          '../_base_/models/daotad.py', '../_base_/schedules/sgd_daotad.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=1.0, clip_len=768,
        backbone=dict(
            type='ResNet3d', depth=50, pretrained=None, conv1_kernel=(5, 7, 7), conv1_stride_t=2,
            pool1_stride_t=2, zero_init_residual=False,
            inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)))),
    neck=dict(in_channels=2048))

default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=16)

# Kinetics-400 weights of mmaction's I3D; its classification head is reported as unexpected.
load_from = 'https://download.openmmlab.com/mmaction/v1.0/recognition/i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb_20220812-e213c223.pth'  # noqa: E501

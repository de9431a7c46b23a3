# Video Swin-T on 15 clips of 32 frames at 15 fps (32 s), 112 px, a quarter of the clips kept.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=32, clips_at_once=4,
        backbone=dict(type='SwinTransformer3D', arch='tiny', pretrained=None,
                      pretrained2d=False, patch_size=(2, 4, 4), window_size=(8, 7, 7),
                      drop_path_rate=0.1)),
    neck=dict(in_channels=768))

_windows = dict(num_frames=480, stride_frames=None, target_fps=15)
train_dataloader = dict(dataset=_windows)
val_dataloader = dict(dataset=_windows)
test_dataloader = dict(dataset=_windows)

# Kinetics-400 weights of mmaction's Video Swin-T.
load_from = 'https://download.openmmlab.com/mmaction/v1.0/recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth'  # noqa: E501

# Chunk-wise SBP: Video Swin-T on 15 clips of 32 frames at 15 fps (32 s), 6 of them kept.
_base_ = 'daotad_i3d-r50_full_768x25fps_thumos14.py'

keep_ratio = 0.4
model = dict(
    backbone=dict(
        _delete_=True, type='SBPBackbone', keep_ratio=keep_ratio, clip_len=32, clips_at_once=4,
        # As published: the gradient of the kept clips is not divided by the keep ratio, so its
        # mean is smaller by that factor, and the learning rate below is too. With rescale=True
        # lr_mult=keep_ratio ** 2 gives the same mean step.
        rescale=False,
        backbone=dict(type='SwinTransformer3D', arch='tiny', pretrained=None,
                      pretrained2d=False, patch_size=(2, 4, 4), window_size=(8, 7, 7),
                      drop_path_rate=0.1, frozen_stages=2)),
    # The backbone has a step every 2 frames; two convolutions of stride 2 make it 8.
    neck=dict(in_channels=768, num_stem_convs=2),
    head=dict(strides=(4, 8, 16, 32, 64)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=keep_ratio)}))

_windows = dict(num_frames=480, target_fps=15)
train_dataloader = dict(dataset=_windows)
val_dataloader = dict(dataset=_windows)
test_dataloader = dict(dataset=_windows)

# Kinetics-400 weights of mmaction's Video Swin-T.
load_from = 'https://download.openmmlab.com/mmaction/v1.0/recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth'  # noqa: E501

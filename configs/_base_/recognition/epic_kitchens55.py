# EPIC-Kitchens-55 as published: one folder of frames per video. Each line of a list is one action,
# `folder offset num_frames class`, such as `P01/P01_01 121 180 3`.
_base_ = './swin_t_kinetics400.py'

_decode = [dict(type='RawFrameDecode')]
train_pipeline = [_base_.train_pipeline[1], *_decode, *_base_.train_pipeline[3:]]
val_pipeline = [_base_.val_pipeline[1], *_decode, *_base_.val_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[1], *_decode, *_base_.test_pipeline[3:]]

_frames = dict(_delete_=True, type='RawframeDataset', with_offset=True,
               filename_tmpl='frame_{:010}.jpg',
               data_prefix=dict(img='data/epic_kitchens55/rgb_frames'))
train_dataloader = dict(dataset=dict(_frames, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(_frames, pipeline=val_pipeline, test_mode=True))
test_dataloader = dict(dataset=dict(_frames, pipeline=test_pipeline, test_mode=True))

# Kinetics-400 weights of mmaction's Video Swin-T; the classifier is not loaded.
load_from = 'https://download.openmmlab.com/mmaction/v1.0/recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth'  # noqa: E501

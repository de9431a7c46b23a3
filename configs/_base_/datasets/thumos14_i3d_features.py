# THUMOS'14 from two-stream I3D features, data/thumos14/i3d_features/video_test_0000004.npy of
# shape (T, 2048): a step every 4 frames, computed from 16. A window of 2,304 steps holds nearly
# every video; as in ActionFormer, training takes 90 to 100 % of a window, at any place with an
# action.
_base_ = 'thumos14.py'

train_pipeline = [dict(type='LoadFeatures', crop_ratio=(0.9, 1.0), draw='window'),
                  dict(type='PackTADInputs')]
test_pipeline = [dict(type='LoadFeatures'), dict(type='PackTADInputs')]

_features = dict(
    num_frames=2304, stride_frames=None, data_prefix=dict(features='i3d_features'),
    source=dict(stride_frames=4, window_frames=16, num_channels=2048, cover='whole'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **_features))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **_features))
test_dataloader = val_dataloader

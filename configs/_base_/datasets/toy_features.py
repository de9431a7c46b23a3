# Features of the toy set in data/toy/features, written by tools/extract_features.py. The JSON next
# to each file states stride and window. Windows of 48 steps with a stride of 4 frames (16 s).
_base_ = 'toy.py'

train_pipeline = [dict(type='LoadFeatures'), dict(type='PackTADInputs')]
test_pipeline = train_pipeline

_features = dict(num_frames=48, stride_frames=None, data_prefix=dict(features='features'),
                 source=dict(num_channels=64), pipeline=train_pipeline)
train_dataloader = dict(dataset=_features)
val_dataloader = dict(dataset=_features)
test_dataloader = val_dataloader

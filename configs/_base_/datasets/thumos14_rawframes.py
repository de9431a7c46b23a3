# THUMOS'14 from folders of all frames: data/thumos14/frames/video_test_0000004/img_00001.jpg and so
# on. Frames extracted at another fps need source=dict(fps=...) in each dataset.
_base_ = 'thumos14.py'

_read_frames = [dict(type='SampleWindow'), dict(type='RawFrameDecode')]
train_pipeline = _read_frames + _base_.train_pipeline[2:]
test_pipeline = _read_frames + _base_.test_pipeline[2:]

_frames = dict(data_prefix=dict(frames='frames'), source=dict(filename_tmpl='img_{:05d}.jpg'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **_frames))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **_frames))
test_dataloader = val_dataloader

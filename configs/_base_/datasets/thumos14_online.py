# THUMOS'14 frame by frame, as in LSTR and the SBP paper: 4 fps, 224 px, a working window of 32
# frames (8 s) after a history of 128 s at 1 fps (LSTR's long memory); all 213 test videos. In
# training the history is spread evenly; in testing a video is one item, over which windows slide.
_base_ = 'thumos14.py'
memory_frames = 128
memory_stride = 4

train_pipeline = [
    dict(type='SampleOnlineWindow'),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop', area_range=(0.6, 1.0), aspect_ratio_range=(0.9, 1.1)),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackOnlineInputs'),
]
test_pipeline = [
    dict(type='SampleOnlineWindow'),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackOnlineInputs'),
]

_dataset = dict(
    _delete_=True, type='THUMOS14OnlineDataset', protocol=213, data_root=_base_.data_root,
    num_frames=32, target_fps=4, memory_frames=memory_frames, memory_stride=memory_stride)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline,
                                                    history_from='spread', **_dataset))
val_dataloader = dict(  # a video of ten minutes is 360 MB of frames
    batch_size=1, num_workers=2,
    dataset=dict(test_mode=True, whole_videos=True, pipeline=test_pipeline, **_dataset))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='OnlineMetric')
test_evaluator = val_evaluator

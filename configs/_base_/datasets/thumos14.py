# THUMOS'14 from videos, 112 px; data/README.md shows the folder. Windows of 128 frames at
# stride 4 (about 17 s at 30 fps); tested on 211 videos (the default protocol of THUMOS14Dataset).
data_root = 'data/thumos14'

train_pipeline = [
    dict(type='SampleWindow'),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(-1, 128)),
    dict(type='RandomResizedCrop', area_range=(0.6, 1.0), aspect_ratio_range=(0.9, 1.1)),
    dict(type='Resize', scale=(112, 112), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='ColorJitter'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackTADInputs'),
]
test_pipeline = [
    dict(type='SampleWindow'),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(-1, 112)),
    dict(type='CenterCrop', crop_size=112),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackTADInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='THUMOS14Dataset', data_root=data_root, num_frames=128, stride_frames=4,
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='THUMOS14Dataset', data_root=data_root, num_frames=128, stride_frames=4,
                 overlap=0.5, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='TADMetric')  # tIoU thresholds are those of the dataset
test_evaluator = val_evaluator

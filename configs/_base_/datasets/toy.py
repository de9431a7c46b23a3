# The generated toy set (tools/make_toy_dataset.py): 12 fps, windows of 16 s at every second frame.
data_root = 'data/toy'
num_frames = 96
stride_frames = 2
frame_size = 48

train_pipeline = [
    dict(type='SampleWindow'),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(frame_size, frame_size), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackTADInputs'),
]
test_pipeline = train_pipeline

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ToyDataset', data_root=data_root, num_frames=num_frames,
                 stride_frames=stride_frames, windows_per_video=8, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ToyDataset', data_root=data_root, num_frames=num_frames,
                 stride_frames=stride_frames, overlap=0.5, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='TADMetric')
test_evaluator = val_evaluator

# DaoTAD's windows and augmentation: 768 frames at 25 fps (30.7 s), 112 px crops of 128 px,
# photometric distortion, rotation and flip; test windows overlap by a quarter.
_base_ = 'thumos14.py'

train_pipeline = [
    dict(type='SampleWindow', min_keep_share=0.75),
    dict(type='PyAVSeekDecode'),
    dict(type='Resize', scale=(128, 128), keep_ratio=False),
    dict(type='RandomCrop', size=112),
    dict(type='RandomApply', prob=0.5, transforms=[
        dict(type='ColorJitter', brightness=0.125, contrast=0.5, saturation=0.5, hue=0.07)]),
    dict(type='RandomRotation', max_degrees=45, probability=0.5),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackTADInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[2].update(scale=(128, 128), keep_ratio=False)

_windows = dict(num_frames=768, stride_frames=None, target_fps=25)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline, **_windows))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, overlap=0.25, **_windows))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, overlap=0.25, **_windows))

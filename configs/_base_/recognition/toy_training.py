# Trimmed toy clips (tools/make_toy_dataset.py --trimmed): clips of 8 frames at 6 fps and 48 px, as
# the detectors of the study see them. No flips, because the classes have directions.
_base_ = '../default_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))

data_root = 'data/toy_study/trimmed_fur'

_ends = [dict(type='PyAVSeekDecode'), dict(type='FormatShape', input_format='NCTHW'),
         dict(type='PackActionInputs')]
train_pipeline = [dict(type='PyAVInit'), dict(type='SampleFrames', clip_len=8), *_ends]
val_pipeline = [dict(type='PyAVInit'), dict(type='SampleFrames', clip_len=8, test_mode=True),
                *_ends]

_loader = dict(batch_size=32, num_workers=1, persistent_workers=True)
_dataset = dict(type='VideoDataset', data_prefix=dict(video=f'{data_root}/videos'))
train_dataloader = dict(
    **_loader, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**_dataset, ann_file=f'{data_root}/train_list_videos.txt',
                 pipeline=train_pipeline))
val_dataloader = dict(
    **_loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_dataset, ann_file=f'{data_root}/val_list_videos.txt', pipeline=val_pipeline,
                 test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator

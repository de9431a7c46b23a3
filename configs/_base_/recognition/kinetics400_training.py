# Training settings for mmaction's configs that only test (VideoMAE, UniFormer): clips of 16 frames
# at stride 4 and 30 epochs of AdamW, as mmaction fine-tunes its Video Swin.
_ends = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]

train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    *_ends
]
val_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    *_ends
]

_loader = dict(batch_size=8, num_workers=8, persistent_workers=True)
train_dataloader = dict(
    **_loader, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VideoDataset', data_prefix=dict(video='data/kinetics400/videos_train'),
                 ann_file='data/kinetics400/kinetics400_train_list_videos.txt',
                 pipeline=train_pipeline))
val_dataloader = dict(
    **_loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='VideoDataset', data_prefix=dict(video='data/kinetics400/videos_val'),
                 ann_file='data/kinetics400/kinetics400_val_list_videos.txt',
                 pipeline=val_pipeline, test_mode=True))
val_evaluator = dict(type='AccMetric')

optim_wrapper = dict(
    type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=2.5,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=30, T_max=30, eta_min=0)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_begin=1, val_interval=3)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)

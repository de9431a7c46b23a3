# AdaTAD (Liu et al., CVPR 2024), as OpenTAD has it: adapters in VideoMAE-S, the rest of the
# backbone frozen. Weights: --cfg-options load_from=FILE, one of VideoMAE-S on Kinetics-400 by
# mmaction, or one of OpenTAD's AdaTAD after tools/convert_checkpoint.py.
_base_ = 'actionformer_videomae-s_sbp-r4_768x4_thumos14.py'

model = dict(
    backbone=dict(mode='adapters', keep_ratio=1.0, backbone=dict(drop_path_rate=0.1)),
    neck=dict(window=0, norm_eps=1e-6, padding='opentad'),
    # steps stand at the frames that are sampled, and predictions of all durations are kept
    head=dict(norm_eps=1e-6, padding='opentad', prior_offset=0.0, min_duration_grid=-1.0),
    test_cfg=dict(sigma=0.7, max_detections=2000, max_per_window=2000, rounding='windows'))

# Augmentation and sampling of OpenTAD.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(frame='first', min_keep_share=0.75)
train_pipeline[3].update(area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3))
test_pipeline = _base_.test_pipeline
test_pipeline[0].update(frame='first')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, protocol='opentad'))
test_dataloader = val_dataloader

# The adapters learn at twice the rate of neck and head; the last 40 of 100 epochs are left out.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=2.0))))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=100, T_max=95)

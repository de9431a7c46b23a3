# AdaTAD (Liu et al., CVPR 2024), as OpenTAD has it: adapters in VideoMAE-S, the rest of the
# backbone frozen. Weights: --cfg-options load_from=FILE, one of VideoMAE-S on Kinetics-400 by
# mmaction, or one of OpenTAD's AdaTAD after tools/convert_checkpoint.py.
_base_ = 'actionformer_videomae-s_sbp-r4_768x4_thumos14.py'

model = dict(
    backbone=dict(mode='adapters', keep_ratio=1.0, backbone=dict(drop_path_rate=0.1)),
    neck=dict(window=0, norm_eps=1e-6, padding='opentad'),
    head=dict(norm_eps=1e-6, padding='opentad'),
    test_cfg=dict(sigma=0.7, max_detections=2000))

# The adapters learn at twice the rate of neck and head; the last 40 of 100 epochs are left out.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=2.0))))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=100, T_max=95)

# Schedule of ActionFormer on THUMOS'14, end to end with a rate of 1e-5 for the backbone.
max_epochs = 60
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0,
                       custom_keys={'backbone': dict(lr_mult=0.1),
                                    # scales of levels and branches
                                    '.scale': dict(decay_mult=0.0)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=5,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=5, end=max_epochs,
         T_max=max_epochs - 5, eta_min=0, convert_to_iter_based=True)]
custom_hooks = [dict(type='EMAFromStartHook', ema_type='ExponentialMovingAverage', momentum=0.001)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

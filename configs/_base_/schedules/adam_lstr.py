# Schedule of LSTR on THUMOS'14 in the code of the SBP paper: 25 epochs of Adam, 5e-5 for the head
# and 3e-6 for the backbone, a tenth of that after 13 and after 24 epochs.
max_epochs = 25
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-5, weight_decay=5e-5),
    clip_grad=dict(max_norm=20), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.06)}))
param_scheduler = [
    # In the paper's code only the backbone warms up; a scheduler of mmengine sets all rates.
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='MultiStepLR', by_epoch=True, milestones=[13, 24], gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Schedule of DaoTAD on THUMOS'14. The learning rate restarts every 100 epochs; the published
# checkpoint is that of epoch 700.
max_epochs = 1200
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    # First in the list: at its start it sets the learning rate and would undo a warm-up before it.
    dict(type='CosineRestartLR', by_epoch=True, periods=[100] * 12, restart_weights=[1] * 12,
         eta_min_ratio=0.01),
    dict(type='LinearLR', by_epoch=False, begin=0, end=500, start_factor=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Schedule of LSTR's own code: 25 epochs of Adam at 7e-5, 10 of warm-up from 0.3 of it, and cosine
# annealing from the first iteration on; the rate is the product of both. No gradient is clipped.
max_epochs = 25
optim_wrapper = dict(type='OptimWrapper',
                     optimizer=dict(type='Adam', lr=7e-5, weight_decay=5e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.3, by_epoch=True, begin=0, end=10,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs,
         eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

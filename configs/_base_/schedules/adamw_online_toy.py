# The schedule of the toy set's segment detectors, shortened to 860 iterations.
_base_ = 'adamw_short.py'
max_epochs = 20

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs - 1)
train_cfg = dict(max_epochs=max_epochs, val_interval=10)

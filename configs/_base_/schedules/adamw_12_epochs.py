# The short schedule in 12 epochs, for the many runs of the study.
_base_ = 'adamw_short.py'
max_epochs = 12
_warmup, _cosine = _base_.param_scheduler
param_scheduler = [_warmup, dict(_cosine, end=max_epochs, T_max=max_epochs - 1)]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)

# The original recipe of ActionFormer: I3D features, 5 epochs of warm-up, 30 of cosine annealing,
# tested on its 212 videos.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14_i3d_features.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(backbone=None, neck=dict(in_channels=2048))

max_epochs = 35
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs - 5)
train_cfg = dict(max_epochs=max_epochs)

val_dataloader = dict(dataset=dict(protocol='actionformer'))
test_dataloader = val_dataloader

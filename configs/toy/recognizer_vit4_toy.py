# The transformer of the study from scratch on trimmed clips, three times as long as the ResNet.
_base_ = ['../_base_/recognition/toy_training.py', '../_base_/models/vit4_backbone.py',
          '../_base_/models/toy_recognizer.py', '../_base_/schedules/adamw_short.py']

model = dict(backbone=_base_.vit4)
optim_wrapper = dict(optimizer=dict(lr=1e-3))  # with the ResNet's 3e-3 it learns less

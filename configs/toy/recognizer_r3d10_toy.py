# Pretraining as on Kinetics: the backbone learns the motions from trimmed clips of another look.
_base_ = ['../_base_/recognition/toy_training.py', '../_base_/models/r3d10_backbone.py',
          '../_base_/models/toy_recognizer.py', '../_base_/schedules/adamw_12_epochs.py']

model = dict(backbone=_base_.r3d10)

# MultiTHUMOS, frame by frame: ResNet-50 over 128 frames at stride 4.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/multithumos.py',
          '../_base_/models/actionformer_tsn-r50.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(head=dict(num_classes=65))
load_from = _base_.weights

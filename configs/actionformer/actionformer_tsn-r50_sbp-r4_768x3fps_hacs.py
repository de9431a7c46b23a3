# HACS Segments, frame by frame: ResNet-50 over 768 frames at 3 fps.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/hacs.py',
          '../_base_/models/actionformer_tsn-r50.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(head=dict(num_classes=200))
load_from = _base_.weights

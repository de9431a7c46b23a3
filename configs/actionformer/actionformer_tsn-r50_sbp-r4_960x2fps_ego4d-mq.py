# Ego4D Moment Queries, frame by frame: ResNet-50 over 960 frames at 2 fps.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/ego4d_mq.py',
          '../_base_/models/actionformer_tsn-r50.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(head=dict(num_classes=110))
load_from = _base_.weights

# Frame by frame: ResNet-50 over 128 frames at stride 4, a quarter of the frames kept.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14.py',
          '../_base_/models/actionformer_tsn-r50.py', '../_base_/schedules/adamw_thumos14.py']

load_from = _base_.weights

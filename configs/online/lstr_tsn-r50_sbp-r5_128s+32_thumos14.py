# Online detection of the SBP paper: ResNet-50 and LSTR end to end, 1/5 of the working frames kept.
_base_ = ['../_base_/online_runtime.py', '../_base_/datasets/thumos14_online.py',
          '../_base_/models/lstr.py', '../_base_/models/tsn-r50_weights.py',
          '../_base_/schedules/adam_lstr.py']

load_from = _base_.weights
auto_scale_lr = dict(base_batch_size=16)

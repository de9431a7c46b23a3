# The original recipe of LSTR: Kinetics features of two streams, 512 s of history, 8 s of windows.
_base_ = ['../_base_/online_runtime.py', '../_base_/datasets/thumos14_lstr_features.py',
          '../_base_/models/lstr_features.py', '../_base_/schedules/adam_lstr_features.py']

auto_scale_lr = dict(base_batch_size=16)

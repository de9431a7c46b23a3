# The original recipe of LSTR on TVSeries.
_base_ = ['../_base_/online_runtime.py', '../_base_/datasets/tvseries_lstr_features.py',
          '../_base_/models/lstr_features.py', '../_base_/schedules/adam_lstr_features.py']

model = dict(head=dict(num_classes=30, has_ambiguous_class=False))
default_hooks = dict(checkpoint=dict(save_best='online/calibrated_mAP'))
auto_scale_lr = dict(base_batch_size=16)

# LSTR on a backbone that is frozen at its Kinetics weights, as online detection was trained before.
_base_ = 'lstr_tsn-r50_sbp-r5_128s+32_thumos14.py'

model = dict(backbone=dict(keep_ratio=1.0, backbone=dict(frozen_stages=4)))

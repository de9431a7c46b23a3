# The same detector on a backbone frozen at its random weights, to measure what training it gains.
_base_ = 'actionformer_r3d10_sbp-r4_toy.py'

model = dict(backbone=dict(keep_ratio=1.0, backbone=dict(frozen_stages=3)))

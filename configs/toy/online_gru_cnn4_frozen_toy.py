# The same detector on a backbone that stays as it was drawn: what learning it is worth.
_base_ = 'online_gru_cnn4_sbp-r4_toy.py'

model = dict(backbone=dict(keep_ratio=1.0, backbone=dict(frozen=True)))

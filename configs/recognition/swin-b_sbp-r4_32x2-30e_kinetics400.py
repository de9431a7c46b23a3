_base_ = '../_base_/recognition/swin_b_kinetics400.py'

model = dict(backbone=dict(keep_ratio=0.25))

_base_ = './vit-b_sbp-r2_300e_imagenet.py'

model = dict(backbone=dict(keep_ratio=1))

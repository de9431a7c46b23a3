# Bottom-up: no pyramid, classes for every step, runs of steps grouped into segments.
_base_ = 'actionformer_r3d10_sbp-r4_toy.py'

model = dict(
    neck=None,
    head=dict(_delete_=True, type='SegmentationHead', num_classes=6, in_channels=64))

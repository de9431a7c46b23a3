# A small DaoTAD: 4 levels of anchors of 0.67 to 9.3 s, which cover the actions of 1 to 8 s.
_base_ = 'actionformer_r3d10_sbp-r4_toy.py'

model = dict(
    neck=dict(_delete_=True, type='DaoTADNeck', in_channels=64, embed_channels=64,
              downsample_channels=64, num_levels=4),
    head=dict(_delete_=True, type='RetinaHead1d', num_classes=6, in_channels=64, num_convs=2,
              strides=(1, 2, 4, 8)),
    test_cfg=dict(_delete_=True, method='nmw', min_score=0.005, max_detections=1200))

# ActionFormer's neck and head (ECCV 2022) with its THUMOS'14 settings, on any backbone.

model = dict(
    type='TemporalDetector',
    data_preprocessor=dict(type='TADDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]),
    neck=dict(type='ActionFormerNeck', embed_channels=512, num_levels=6, window=19),
    head=dict(type='AnchorFreeHead', num_classes=20, in_channels=512),
    test_cfg=dict(method='gaussian', sigma=0.5, min_score=0.001, max_detections=200))

# DaoTAD's neck and head (Wang et al., 2021) with its THUMOS'14 settings, on any backbone with a
# step every 8 frames: 930 anchors of 16 to 446 frames for 768 frames. Its SRM, a mean over space,
# is the last step of SBPBackbone.

model = dict(
    type='TemporalDetector',
    data_preprocessor=dict(type='TADDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]),
    neck=dict(type='DaoTADNeck', embed_channels=256, downsample_channels=512, num_levels=5),
    head=dict(type='RetinaHead1d', num_classes=20, in_channels=256, num_convs=4,
              strides=(1, 2, 4, 8, 16)),
    # non-maximum weighting instead of soft-NMS
    test_cfg=dict(method='nmw', iou_threshold=0.5, min_score=0.005, max_detections=1200,
                  max_candidates=20000))

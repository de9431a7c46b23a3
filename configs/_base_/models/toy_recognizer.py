# A recognizer of clips with the simplest head of mmaction, preprocessed like the detectors.
model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], format_shape='NCTHW'),
    cls_head=dict(type='I3DHead', num_classes=6, in_channels=64, dropout_ratio=0.0,
                  average_clips='prob'))

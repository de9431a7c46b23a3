# LSTR (Xu et al., NeurIPS 2021) on ResNet-50 frame by frame, as the SBP paper trains it end to end
# on THUMOS'14: keep ratio 1/5, a history of 128 s at 1 fps, windows of 8 s at 4 fps.

model = dict(
    type='OnlineActionDetector',
    data_preprocessor=dict(type='TADDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.2, clip_len=1,
        backbone=dict(type='ResNet', depth=50, pretrained=None)),
    head=dict(
        type='LSTRHead', num_classes=20, in_channels=2048, channels=1024, num_heads=16,
        feedforward_channels=1024, dropout=0.2, num_queries=(16, 32), num_encoder_layers=(1, 2),
        num_decoder_layers=2, num_frames=32, memory_frames=128, memory_stride=4,
        windows='sliding', history_from='oldest'))

# ConvNeXt-B: SBP covers the MLPs of stages 1 and 2 and of the first 21 of 27 blocks of stage 3.
_base_ = '../_base_/recognition/image_classifier.py'

model = dict(
    backbone=dict(token_blocks=['stages.[01]', r'stages.2.(1?\d|20)'],
                  backbone=dict(type='ConvNeXt', depths=(3, 3, 27, 3),
                                channels=(128, 256, 512, 1024), drop_path_rate=0.3)),
    cls_head=dict(in_channels=1024))

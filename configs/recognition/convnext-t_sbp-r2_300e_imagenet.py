# ConvNeXt-T: SBP covers the MLPs of stages 1 and 2 and of the first 6 of 9 blocks of stage 3.
_base_ = '../_base_/recognition/image_classifier.py'

model = dict(
    backbone=dict(token_blocks=['stages.[01]', 'stages.2.[0-5]'],
                  backbone=dict(type='ConvNeXt', drop_path_rate=0.1)),
    cls_head=dict(in_channels=768))

# The frame-wise backbone learns from TRN's relation of the eight frames of a clip, as none of them
# alone tells the class.
_base_ = ['../_base_/recognition/toy_training_frames.py', '../_base_/models/cnn4_backbone.py',
          '../_base_/models/toy_recognizer.py', '../_base_/schedules/adamw_12_epochs.py']

model = dict(
    type='Recognizer2D',
    data_preprocessor=dict(format_shape='NCHW'),
    backbone=_base_.cnn4,
    cls_head=dict(type='TRNHead', in_channels=576, spatial_type=None, relation_type='TRN',
                  num_segments=8, init_std=0.01))

# Small online detection: the classes of a frame, predicted from it and the frames before it.
_base_ = ['../_base_/online_runtime.py', '../_base_/datasets/toy_online.py',
          '../_base_/schedules/adamw_online_toy.py']

model = dict(
    type='OnlineActionDetector',
    data_preprocessor=dict(type='TADDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]),
    # Four convolutions per frame; a quarter of the working frames is backpropagated. One frame does
    # not show the class: the head must see motion, so features keep where objects are in the frame.
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=1, clips_at_once=256,
        backbone=dict(type='FrameCNN', channels=64, keep_places=True)),
    head=dict(type='GRUHead', num_classes=6, in_channels=576, channels=128,
              num_frames=_base_.num_frames, memory_frames=_base_.memory_frames,
              memory_stride=_base_.memory_stride))

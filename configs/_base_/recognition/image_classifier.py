# An image is a video of one frame: mmaction's recognizer, mixed batches, smoothed labels.
_base_ = ['../default_runtime.py', '../datasets/imagenet.py', '../schedules/adamw_imagenet.py']

model = dict(
    type='Recognizer2D',
    backbone=dict(type='SBPBackbone', mode='token', keep_ratio=0.5, rescale=False),
    cls_head=dict(type='TimeSformerHead', num_classes=1000, label_smooth_eps=0.1,
                  average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', format_shape='NCHW',
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        blending=dict(type='RandomBatchAugment', augments=[
            dict(type='MixupBlending', alpha=0.8, num_classes=1000),
            dict(type='CutmixBlending', alpha=1.0, num_classes=1000)])))
default_hooks = dict(checkpoint=dict(save_best='acc/top1'))
auto_scale_lr = dict(base_batch_size=4096)

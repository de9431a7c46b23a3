# The same clips as 8 frames each, for backbones of images.
_base_ = 'toy_training.py'

_input_format = dict(FormatShape=dict(input_format='NCHW'))
train_pipeline, val_pipeline = (
    [dict(step, **_input_format.get(step['type'], {})) for step in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.val_pipeline))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader

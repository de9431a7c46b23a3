_base_ = 'thumos14.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(scale=(-1, 182))
train_pipeline[4].update(scale=(160, 160))
test_pipeline = _base_.test_pipeline
test_pipeline[2].update(scale=(-1, 160))
test_pipeline[3].update(crop_size=160)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

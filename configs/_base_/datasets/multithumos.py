# MultiTHUMOS: the videos and windows of THUMOS'14.
_base_ = 'thumos14.py'

_dataset = dict(type='MultiTHUMOSDataset', data_root='data/multithumos',
                data_prefix=dict(video='../thumos14/videos'))
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

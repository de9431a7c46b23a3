# HACS Segments from videos, with the windows of ActivityNet.
_base_ = 'thumos14.py'

_dataset = dict(type='HACSDataset', data_root='data/hacs',
                num_frames=768, stride_frames=None, target_fps=3)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

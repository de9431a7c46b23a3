# FineAction from videos: windows of 768 frames at 8 fps (96 s), classes as annotated.
_base_ = 'thumos14.py'

_dataset = dict(type='FineActionDataset', data_root='data/fineaction',
                num_frames=768, stride_frames=None, target_fps=8, classes_from_annotation=True)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

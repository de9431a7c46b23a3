# EPIC-Kitchens-100, verbs, from videos of 50 or 60 fps: windows of 768 frames at 2 fps (384 s).
_base_ = 'thumos14.py'

_dataset = dict(type='EpicKitchens100VerbDataset', data_root='data/epic_kitchens_100',
                num_frames=768, stride_frames=None, target_fps=2)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

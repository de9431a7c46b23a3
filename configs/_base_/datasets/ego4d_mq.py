# Ego4D Moment Queries from clips of about 8 minutes: 960 frames at 2 fps (480 s).
_base_ = 'thumos14.py'

_dataset = dict(type='Ego4DMQDataset', data_root='data/ego4d_mq',
                num_frames=960, stride_frames=None, target_fps=2)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

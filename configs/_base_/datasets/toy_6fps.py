# The toy set at 6 fps and 48 px: windows of 16 s take every frame without resizing
# (tools/make_toy_dataset.py --out data/toy_study/shapes --fps 6 --size 48).
_base_ = 'toy.py'
data_root = 'data/toy_study/shapes'
stride_frames = 1

train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'Resize']
test_pipeline = train_pipeline

_dataset = dict(data_root=data_root, stride_frames=stride_frames, pipeline=train_pipeline)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = val_dataloader

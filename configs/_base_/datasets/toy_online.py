# The toy set frame by frame: 6 fps, a working window of 32 frames (5.3 s) after 10.7 s of history,
# of which every second frame is taken.
_base_ = 'toy.py'
num_frames = 32
memory_frames = 32
memory_stride = 2

_online = dict(SampleWindow='SampleOnlineWindow', PackTADInputs='PackOnlineInputs')
train_pipeline = [dict(step, type=_online.get(step['type'], step['type']))
                  for step in _base_.train_pipeline]
test_pipeline = train_pipeline

_dataset = dict(
    _delete_=True, type='ToyOnlineDataset', data_root=_base_.data_root, num_frames=num_frames,
    target_fps=6, memory_frames=memory_frames, memory_stride=memory_stride,
    pipeline=train_pipeline)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=dict(test_mode=True, **_dataset))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='OnlineMetric')
test_evaluator = val_evaluator

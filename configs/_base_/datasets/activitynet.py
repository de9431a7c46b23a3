# ActivityNet-1.3 from videos. Many toolboxes resize each video to a fixed number of frames. Here a
# window has 768 frames at 3 fps: it holds a video of up to 256 s, longer ones get several windows.
_base_ = 'thumos14.py'

_dataset = dict(type='ActivityNetDataset', data_root='data/activitynet',
                num_frames=768, stride_frames=None, target_fps=3)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)

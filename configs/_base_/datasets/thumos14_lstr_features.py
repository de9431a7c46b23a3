# THUMOS'14 in the folders of LSTR's code (TeSTra publishes them): data/thumos14_lstr holds
# rgb_kinetics_resnet50, flow_kinetics_bninception, target_perframe and data_info.json. Two streams,
# 4 frames per second, 200 training and 213 test videos.
data_root = 'data/thumos14_lstr'
_dataset = dict(type='OnlineFeaturesDataset', data_root=data_root, num_frames=32,
                memory_frames=512, memory_stride=4)

train_dataloader = dict(
    batch_size=16, num_workers=8, persistent_workers=True, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=True), dataset=_dataset)
val_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(test_mode=True, **_dataset))
test_dataloader = val_dataloader

val_evaluator = dict(type='OnlineMetric')
test_evaluator = val_evaluator

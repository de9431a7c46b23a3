# TVSeries in the folders of LSTR's code; 30 actions, no ambiguous frames. Its metric is the
# calibrated AP, online/calibrated_mAP.
_base_ = 'thumos14_lstr_features.py'
data_root = 'data/tvseries_lstr'

_dataset = dict(data_root=data_root, data_name='TVSeries')
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = val_dataloader

# ActionFormer as OpenTAD has it: for its checkpoints, or to train its recipe.
_base_ = 'actionformer_i3d-features_thumos14.py'

model = dict(
    neck=dict(norm_eps=1e-6, input_dropout=0.2, padding='opentad', pad_to=2304),
    head=dict(norm_eps=1e-6, padding='opentad', min_duration_grid=-1.0),  # keeps all durations
    test_cfg=dict(max_detections=2000, max_per_window=2000, rounding='detections'))

val_dataloader = dict(dataset=dict(protocol='opentad'))
test_dataloader = val_dataloader

# ActionFormer as OpenTAD has it: for its checkpoints, or to train its recipe.
_base_ = 'actionformer_i3d-features_thumos14.py'

model = dict(
    neck=dict(norm_eps=1e-6, input_dropout=0.2, padding='opentad', pad_to=2304),
    head=dict(norm_eps=1e-6, padding='opentad'),
    test_cfg=dict(max_detections=2000))

# VideoMAE-S on 48 clips of 16 frames at stride 4 (102 s), 160 px, a quarter of the clips kept.
# Weights: give a Kinetics-400 checkpoint of VideoMAE-S with --cfg-options load_from=FILE.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/thumos14_160px.py',
          '../_base_/models/actionformer.py', '../_base_/schedules/adamw_thumos14.py']

model = dict(
    backbone=dict(
        type='SBPBackbone', keep_ratio=0.25, clip_len=16, clips_at_once=4,
        backbone=dict(type='VisionTransformer', img_size=224, patch_size=16, embed_dims=384,
                      depth=12, num_heads=6, mlp_ratio=4, qkv_bias=True, num_frames=16,
                      norm_cfg=dict(type='LN', eps=1e-6), return_feat_map=True)),
    num_steps=768,  # 8 steps per clip, interpolated to one per frame
    neck=dict(in_channels=384))

find_unused_parameters = True  # feature maps do not pass through VideoMAE's last norm
_windows = dict(num_frames=768)
train_dataloader = dict(dataset=_windows)
val_dataloader = dict(dataset=_windows)
test_dataloader = dict(dataset=_windows)

# A small VideoMAE from scratch: 4 blocks, of whose tokens a quarter is backpropagated.
_base_ = 'actionformer_r3d10_sbp-r4_toy.py'

model = dict(
    backbone=dict(
        mode='token',
        backbone=dict(
            # 8 x 48 x 48 pixels are 4 x 4 x 4 tokens; a step every second frame, as the ResNet's
            _delete_=True, type='VisionTransformer', img_size=48, patch_size=12, embed_dims=64,
            depth=4, num_heads=4, mlp_ratio=4, qkv_bias=True, num_frames=8, tubelet_size=2,
            norm_cfg=dict(type='LN', eps=1e-6), return_feat_map=True)))

optim_wrapper = dict(optimizer=dict(lr=1e-3))  # of the ResNet's 3e-3 it learns less
# feature maps do not pass through VideoMAE's last norm
find_unused_parameters = True

# A VideoMAE of 4 blocks: 8 x 48 x 48 pixels are 4 x 4 x 4 tokens. Like the 3D ResNet it has a
# feature step every second frame.
vit4 = dict(
    type='VisionTransformer', img_size=48, patch_size=12, embed_dims=64, depth=4, num_heads=4,
    mlp_ratio=4, qkv_bias=True, num_frames=8, tubelet_size=2, norm_cfg=dict(type='LN', eps=1e-6),
    return_feat_map=True)
# feature maps do not pass through VideoMAE's last norm
find_unused_parameters = True

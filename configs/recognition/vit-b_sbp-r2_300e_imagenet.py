# ViT-B: SBP covers the last 8 of 12 blocks.
_base_ = '../_base_/recognition/image_classifier.py'

model = dict(
    backbone=dict(token=dict(kv='kept'), token_blocks=['blocks.([4-9]|1[01])'],
                  backbone=dict(type='ImageViT', embed_dims=768, depth=12, num_heads=12,
                                use_learnable_pos_emb=True, drop_path_rate=0.3)),
    cls_head=dict(in_channels=768))

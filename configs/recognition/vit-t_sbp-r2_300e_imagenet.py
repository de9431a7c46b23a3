# ViT-T: SBP covers the last 8 of 12 blocks.
_base_ = '../_base_/recognition/image_classifier.py'

model = dict(
    backbone=dict(token=dict(kv='kept'), token_blocks=['blocks.([4-9]|1[01])'],
                  backbone=dict(type='ImageViT', embed_dims=192, depth=12, num_heads=3,
                                use_learnable_pos_emb=True)),
    cls_head=dict(in_channels=192))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=2048)

# A small VideoMAE of 4 blocks from scratch; a quarter of the tokens is backpropagated.
_base_ = ['actionformer_r3d10_sbp-r4_toy.py', '../_base_/models/vit4_backbone.py']

model = dict(backbone=dict(mode='token', backbone=dict(_delete_=True, **_base_.vit4)))

optim_wrapper = dict(optimizer=dict(lr=1e-3))  # with the ResNet's 3e-3 it learns less

# A small VideoMAE from scratch: 4 blocks, of whose tokens a quarter is backpropagated.
_base_ = ['actionformer_r3d10_sbp-r4_toy.py', '../_base_/models/vit4_backbone.py']

model = dict(backbone=dict(mode='token', backbone=dict(_delete_=True, **_base_.vit4)))

optim_wrapper = dict(optimizer=dict(lr=1e-3))  # of the ResNet's 3e-3 it learns less

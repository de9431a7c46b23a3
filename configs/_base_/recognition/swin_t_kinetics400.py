# Video Swin-T on Kinetics-400 as Cheng et al. (CVPR 2022) train it: SBP covers stages 1 and 2, and
# the first 4 of 6 blocks of stage 3; dropped tokens have no gradient through the shortcut either.
_base_ = 'mmaction::recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py'  # noqa: E501
custom_imports = dict(imports=['sbp_tad'])

model = dict(backbone=dict(
    _delete_=True, type='sbp_tad.SBPBackbone', mode='token', token=dict(shortcut='dropped'),
    token_blocks=['layers.[01]', 'layers.2.blocks.[0-3]'], backbone=_base_.model.backbone))

# The published rates are for 16 clips per step; --auto-scale-lr adapts them to another batch.
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
auto_scale_lr = dict(base_batch_size=16)

# Video Swin-B: SBP covers the first 14 of 18 blocks of stage 3; weights of ImageNet-22k.
_base_ = 'mmaction::recognition/swin/swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py'  # noqa: E501
custom_imports = dict(imports=['sbp_tad'])

_backbone = dict(_base_.model.backbone, drop_path_rate=0.2, pretrained='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224_22k.pth')  # noqa: E501
model = dict(backbone=dict(
    _delete_=True, type='sbp_tad.SBPBackbone', mode='token', token=dict(shortcut='dropped'),
    token_blocks=['layers.[01]', 'layers.2.blocks.([0-9]|1[0-3])'], backbone=_backbone))

train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=1.5e-4))
auto_scale_lr = dict(base_batch_size=32)

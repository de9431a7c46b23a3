# The study with a transformer (recognizer_vit4_toy.py), for tokens and adapters.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_6fps.py',
          '../_base_/models/vit4_backbone.py', '../_base_/models/actionformer_toy.py',
          '../_base_/schedules/adamw_12_epochs.py']

model = dict(backbone=dict(
    type='SBPBackbone', mode='token', keep_ratio=0.25, clip_len=8, clips_at_once=48,
    backbone=_base_.vit4, init_cfg=dict(type='Pretrained', prefix='backbone.',
                                        checkpoint='work_dirs/study_pretrain/recognizer_vit4.pth')))
optim_wrapper = dict(optimizer=dict(lr=1e-3))  # with the ResNet's 3e-3 it learns less

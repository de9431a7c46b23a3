# A small version of Kinetics -> THUMOS'14: the backbone is pretrained on trimmed clips of another
# look (recognizer_r3d10_toy.py) and fine-tuned with the detector on untrimmed videos.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_6fps.py',
          '../_base_/models/r3d10_backbone.py', '../_base_/models/actionformer_toy.py',
          '../_base_/schedules/adamw_12_epochs.py']

model = dict(backbone=dict(
    type='SBPBackbone', keep_ratio=0.25, clip_len=8, clips_at_once=48, backbone=_base_.r3d10,
    init_cfg=dict(type='Pretrained', prefix='backbone.',
                  checkpoint='work_dirs/study_pretrain/recognizer_r3d10.pth')))

# Kinetics -> THUMOS'14 in small: the backbone has learnt the motions from trimmed clips of another
# look (recognizer_r3d10_toy.py) and is fine-tuned with the detector on the untrimmed videos.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_6fps.py',
          '../_base_/models/r3d10_backbone.py', '../_base_/models/actionformer_toy.py',
          '../_base_/schedules/adamw_12_epochs.py']

model = dict(backbone=dict(
    type='SBPBackbone', keep_ratio=0.25, clip_len=8, clips_at_once=48, backbone=_base_.r3d10,
    init_cfg=dict(type='Pretrained', prefix='backbone.',
                  checkpoint='work_dirs/study_pretrain/recognizer_r3d10.pth')))

# Kinetics -> THUMOS'14 in small: the backbone has learnt the motions from trimmed clips of another
# look (recognizer_r3d10_toy.py) and is fine-tuned with the detector on the untrimmed videos.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy_6fps.py',
          '../_base_/models/actionformer_r3d10_toy.py', '../_base_/schedules/adamw_12_epochs.py']

model = dict(backbone=dict(keep_ratio=0.25, init_cfg=dict(
    type='Pretrained', checkpoint='work_dirs/study_pretrain/recognizer_r3d10.pth',
    prefix='backbone.')))

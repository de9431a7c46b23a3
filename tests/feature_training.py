"""Small training on features that a test makes: config, annotation, feature files."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
CONFIG = f'''
_base_ = [{str(ROOT / 'configs/toy/actionformer_r3d10-features_toy.py')!r}]
common = dict(
    type='TemporalDetectionDataset', data_root='DATA', ann_file='annotations.json',
    metainfo=dict(classes=['a', 'b']), num_frames=64, data_prefix=dict(features='features'),
    source=dict(stride_frames=4), filename_template='{{video_id}}.npy',
    pipeline=[dict(type='LoadFeatures'), dict(type='PackTADInputs')])
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(subsets=['training'], **common))
val_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(subsets=['test'], test_mode=True, **common))
test_dataloader = val_dataloader
model = dict(neck=dict(in_channels=8, embed_channels=16), head=dict(num_classes=2, in_channels=16))
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=1, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=4, T_max=3, eta_min=0, by_epoch=True,
         convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=10), logger=dict(interval=1))
'''


def make_training(folder: Path, num_channels: int = 8) -> Path:
    """Write features, annotation and config of a training of some seconds; return the config."""
    (folder / 'features').mkdir(parents=True)
    generator = np.random.default_rng(1)
    database = {}
    for number in range(8):
        start = float(generator.uniform(2, 25))
        features = generator.normal(size=(120, num_channels)).astype(np.float32)
        features[int(start * 3):int((start + 8) * 3), number % 2] += 4
        np.save(folder / f'features/v{number}.npy', features)
        database[f'v{number}'] = dict(
            subset='training' if number < 6 else 'test', duration=40.0, fps=12,
            annotations=[dict(segment=[start, start + 8], label='ab'[number % 2])])
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))
    config = folder / 'config.py'
    config.write_text(CONFIG.replace('DATA', str(folder)))
    return config

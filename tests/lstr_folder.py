"""What LSTR's code stores, small and random: folders of features and labels, a checkpoint."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

STREAMS = dict(rgb_kinetics_resnet50=6, flow_kinetics_bninception=4)
CLASSES = ['jump', 'throw', 'run']
VIDEOS = dict(train={'train_a': 45, 'train_b': 70}, test={'test_a': 41, 'test_b': 5})


def write_folder(folder: Path, streams=None, classes=None, videos=None, data_name='THUMOS',
                 ambiguous=True) -> Path:
    """Write ``data_info.json``, features of every stream and labels; frame 3 is ambiguous."""
    streams, videos = streams or STREAMS, videos or VIDEOS
    names = ['Background', *(classes or CLASSES), *['Ambiguous'] * ambiguous]
    rng = np.random.default_rng(0)
    for name in ('target_perframe', *streams):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for video, length in (videos['train'] | videos['test']).items():
        labels = rng.permutation(np.arange(length) % (len(names) - ambiguous))  # all classes
        targets = np.eye(len(names))[labels]
        if ambiguous:
            targets[3] = np.eye(len(names))[-1]
        np.save(folder / 'target_perframe' / f'{video}.npy', targets)
        for name, channels in streams.items():
            features = rng.standard_normal((length, channels)).astype(np.float32)
            np.save(folder / name / f'{video}.npy', features)
    info = dict(class_names=names, num_classes=len(names), fps=4,
                ignore_index=len(names) - 1 if ambiguous else -100,
                **{f'{split}_session_set': list(ids) for split, ids in videos.items()})
    (folder / 'data_info.json').write_text(json.dumps({data_name: info}))
    return folder


def published_weights(in_channels=10, channels=16, hidden=24, columns=5, stages=(1, 2),
                      decoder_layers=2) -> dict[str, torch.Tensor]:
    """Random weights under the names of LSTR's code."""
    shapes = {}
    for name in ('long', 'work'):
        shapes[f'feature_head_{name}.input_linear.0'] = (channels, in_channels)
    stacks = {f'enc_modules.{place}': number for place, number in enumerate(stages)}
    for stack, number in {**stacks, 'dec_modules': decoder_layers}.items():
        for layer in (f'{stack}.layers.{place}' for place in range(number)):
            for attention in ('self_attn', 'multihead_attn'):
                shapes[f'{layer}.{attention}.in_proj'] = (3 * channels, channels)
                shapes[f'{layer}.{attention}.out_proj'] = (channels, channels)
            shapes[f'{layer}.linear1'] = (hidden, channels)
            shapes[f'{layer}.linear2'] = (channels, hidden)
            shapes.update({f'{layer}.norm{place}': (channels, ) for place in (1, 2, 3)})
        shapes[f'{stack}.norm'] = (channels, )
    shapes['classifier'] = (columns, channels)
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        mark = '_' if name.endswith('in_proj') else '.'
        for part, size in (('weight', shape), ('bias', shape[:1])):
            drawn = torch.randn(size, generator=generator) / size[-1] ** 0.5
            if len(shape) == 1 and part == 'weight':  # of a normalization
                drawn = 1 + drawn
            weights[f'{name}{mark}{part}'] = drawn
    for place, number in enumerate((16, 32)):
        weights[f'enc_queries.{place}.weight'] = torch.randn(number, channels,
                                                             generator=generator)
    weights['pos_encoding.pe'] = torch.zeros(5000, 1, channels)
    return weights

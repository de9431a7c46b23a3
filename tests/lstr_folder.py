"""Folder of per-frame features and labels as LSTR's code stores them, small and random."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

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
        labels = rng.integers(len(names) - ambiguous, size=length)
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

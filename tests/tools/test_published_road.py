"""From a published checkpoint and features to its detections, by the three commands of the docs."""
from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

SEED = 11
LENGTHS = 300, 33  # with 576 the order of two equal scores depends on rounding to float32
LABELS = ['a', 'b', 'c', 'd']


@pytest.fixture(scope='module')
def parity(shared_data):
    """Rule of the parity cases, and the published detections of ActionFormer."""
    folder = shared_data / 'parity'
    spec = importlib.util.spec_from_file_location('parity_rule', folder / 'rule.py')
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    shapes = json.loads((folder / 'tiny_shapes.json').read_text())['actionformer']
    return rule, shapes, dict(np.load(folder / 'dev_actionformer.npz'))


@pytest.fixture
def published(parity, tmp_path):
    """Checkpoint, features (T, C) and annotation as ActionFormer's code has them."""
    rule, shapes, outputs = parity
    weights = {f'module.{name}': torch.as_tensor(rule.weight(name, tuple(shape), SEED)).float()
               for name, shape in shapes.items()}
    torch.save(dict(epoch=34, state_dict={name: value + 1 for name, value in weights.items()},
                    state_dict_ema=weights), tmp_path / 'epoch_034.pth.tar')
    (tmp_path / 'i3d_features').mkdir()
    database = {}
    for length in LENGTHS:
        features = rule.rand(f'features{length}', (12, length), SEED).T.astype(np.float32)
        np.save(tmp_path / 'i3d_features' / f'v{length}.npy', features)
        database[f'v{length}'] = dict(
            subset='test', duration=length * 4 / 30 + 0.4, fps=30.0,
            annotations=[dict(segment=[0.5, 2.0], label='a', label_id=0)])
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(database=database)))
    return tmp_path


def test_detections_are_those_of_the_published_code(published, parity, call_tool):
    converted = published / 'converted.pth'
    status, _, errors = call_tool('convert_checkpoint', 'actionformer',
                                  published / 'epoch_034.pth.tar', converted)
    assert not status, errors
    dataset = dict(data_root=published, subsets='[test]', ann_file='annotations.json')
    dataset['metainfo.classes'] = f'[{",".join(LABELS)}]'
    options = {f'test_dataloader.dataset.{name}': value for name, value in dataset.items()}
    options |= {'model.neck.padding': 'actionformer', 'model.head.padding': 'actionformer',
                'model.neck.pad_to': 576, 'test_dataloader.num_workers': 0,
                'test_dataloader.persistent_workers': False, 'test_dataloader.batch_size': 1}
    found = published / 'found.json'
    changes = [f'{name}={value}' for name, value in options.items()]
    status, _, errors = call_tool('test', converted.with_suffix('.py'), converted, '--dump', found,
                                  '--work-dir', published / 'work', '--cfg-options', *changes)
    assert not status, errors
    results = json.loads(found.read_text())['results']
    status, printed, errors = call_tool(
        'test', converted.with_suffix('.py'), published / 'epoch_034.pth.tar', '--dump', found,
        '--work-dir', published / 'work', '--cfg-options', *changes)
    assert not status, errors
    assert 'converted from actionformer (state_dict_ema): 229 weights mapped, 0 unmapped, 0 ' \
        'missing' in printed + errors
    assert json.loads(found.read_text())['results'] == results  # without the second command
    outputs = parity[2]
    for length in LENGTHS:
        expected, detections = outputs[f'{length}/detections'], results[f'v{length}']
        assert len(detections) == len(expected)
        np.testing.assert_allclose([row['score'] for row in detections], expected[:, 2], atol=1e-5)
        segments = np.array([row['segment'] for row in detections])
        labels = np.array([LABELS.index(row['label']) for row in detections])
        for start, end, _, label in expected:  # equal scores may change places
            distance = np.abs(segments[labels == label] - (start, end)).max(axis=1).min()
            assert distance < 1e-4

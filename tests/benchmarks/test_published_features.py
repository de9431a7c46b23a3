"""``python -m benchmarks.published_features``: what the features hold, and who can read them."""
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import published_features
from benchmarks.published_features import FeatureRule, write_dataset
from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.thumos14 import THUMOS14_CLASSES, THUMOS14Dataset

CLASSES = {name: index for index, name in enumerate(THUMOS14_CLASSES)}
QUIET = FeatureRule(jitter=0.0, bursts=0.0, inside=100.0, pulse=0.0)


def video(*segments, seconds=40.0, name='video_validation_0000051'):
    times = np.array([segment[:2] for segment in segments], dtype=float).reshape(-1, 2)
    return VideoAnnotation(name, 'validation', seconds, 30.0, None, times,
                           tuple(each[2] for each in segments))


def test_directions_are_unit_vectors_and_pairs_are_alike():
    inside, start, end = FeatureRule().directions(20)
    np.testing.assert_allclose(np.linalg.norm([inside, start, end], axis=-1), 1)
    alike = inside @ inside.T
    pairs = alike[np.arange(0, 20, 2), np.arange(1, 20, 2)]
    others = alike[~np.kron(np.eye(10, dtype=bool), np.ones((2, 2), dtype=bool))]
    assert pairs.min() > 0.6 > np.abs(others).max()
    assert (start @ end.T).max() < 0.9


def test_an_action_stands_at_its_steps():
    """Step t has seen frames 4 t to 4 t + 16; 15 s to 25 s are frames 450 to 750."""
    found = QUIET.features(video((15, 25, 'Diving')), CLASSES).astype(np.float32)
    assert found.shape == ((1200 - 16) // 4 + 1, 64)
    strength = found @ QUIET.directions(20)[0][CLASSES['Diving']]
    inside = strength > 0.5 * strength.max()
    assert inside.nonzero()[0].tolist() == list(range(111, 186))
    assert np.abs(strength[:107]).max() < 0.1 * strength.max()


def test_starts_and_ends_have_their_own_pulses():
    rule = replace(QUIET, inside=0.0, pulse=100.0)
    found = rule.features(video((15, 25, 'Diving')), CLASSES).astype(np.float32)
    _, start, end = rule.directions(20)[:, CLASSES['Diving']]
    assert abs((found @ start).argmax() * 4 + 8 - 450) <= 12
    assert abs((found @ end).argmax() * 4 + 8 - 750) <= 12


def test_noise_has_the_named_memory_and_variance_one():
    noise = FeatureRule(bursts=0.0).features(video(seconds=400.0), CLASSES).astype(np.float32)
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.6, abs=0.02)


def test_seed_and_name_decide():
    first = FeatureRule().features(video((5, 9, 'Diving')), CLASSES)
    np.testing.assert_array_equal(first, FeatureRule().features(video((5, 9, 'Diving')), CLASSES))
    for other in (FeatureRule(seed=1).features(video((5, 9, 'Diving')), CLASSES),
                  FeatureRule().features(video((5, 9, 'Diving'), name='other'), CLASSES)):
        assert (first != other).mean() > 0.9


def test_our_dataset_reads_what_is_written(tmp_path, write_annotation, capsys):
    def entry(subset, *labels):
        return dict(subset=subset, duration=30.0, fps=30.0, annotations=[
            dict(label=label, segment=[5.0, 8.0]) for label in labels])

    annotation = write_annotation({'a': entry('validation', 'Diving', 'Ambiguous'),
                                   'b': entry('test', 'Shotput'), 'c': entry('test', 'Ambiguous')})
    published_features.main([str(annotation), str(tmp_path / 'out'), '--seed', '1'])
    assert 'features of 2 videos' in capsys.readouterr().out
    written = json.loads((tmp_path / 'out/annotations/thumos14.json').read_text())['database']
    assert written['a']['annotations'] == [dict(segment=[5.0, 8.0], label='Diving', label_id=7)]
    dataset = THUMOS14Dataset(
        data_root=str(tmp_path / 'out'), data_prefix=dict(features='i3d_features'), num_frames=256,
        source=dict(stride_frames=4, window_frames=16, num_channels=64, cover='whole'),
        pipeline=[dict(type='LoadFeatures'), dict(type='PackTADInputs')], test_mode=True)
    assert [item['data_samples'].video_id for item in dataset] == ['b']
    assert dataset[0]['inputs'].shape == (64, 256)
    assert dataset[0]['data_samples'].window.num_valid_frames == (900 - 16) // 4 + 1


def test_the_same_files_are_written_again(tmp_path, write_annotation):
    annotation = write_annotation({'a': dict(
        subset='validation', duration=9.0, fps=30.0,
        annotations=[dict(label='Diving', segment=[1.0, 2.0])])})
    for name in ('one', 'two'):
        assert write_dataset(annotation, tmp_path / name, FeatureRule()) == 1
    first, second = (np.load(tmp_path / f'{name}/i3d_features/a.npy') for name in ('one', 'two'))
    np.testing.assert_array_equal(first, second)

"""Raw predictions come back as they were written, in few bytes, or not at all."""
import json

import numpy as np
import pytest

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.raw_predictions import (
    RawPredictions,
    read_raw_predictions,
    write_raw_predictions,
)
from sbp_tad.segments.merging import PostProcessing


def window(number, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 9, number)
    segments = np.stack([start, start + 1], axis=1).astype(dtype).astype(np.float64)
    return segments, rng.random(number).astype(np.float32).astype(np.float64), \
        rng.integers(0, 2, number)


def raw(windows):
    return RawPredictions(windows, ('jump', 'run'), PostProcessing(method='hard', voting_iou=0.8),
                          EvaluationOptions(tiou_thresholds=(0.5, 0.95)), ('validation', 'test'))


@pytest.mark.parametrize('windows', [
    {}, {'a': []}, {'b': [window(0, 0)]},
    {'a': [window(4, 1), window(0, 2)], 'ü': [], 'c': [window(3, 3, np.float32)]}])
def test_what_is_written_is_read(tmp_path, windows):
    write_raw_predictions(tmp_path / 'raw', raw(windows))
    found = read_raw_predictions(tmp_path / 'raw')
    assert list(found.windows) == list(windows)
    for name, expected in windows.items():
        assert len(found.windows[name]) == len(expected)
        for read, written in zip(found.windows[name], expected):
            for a, b in zip(read, written):
                np.testing.assert_array_equal(a, b)
    assert (found.rules, found.options, found.subsets, found.class_names) == (
        raw({}).rules, raw({}).options, raw({}).subsets, raw({}).class_names)


def test_numbers_take_the_bits_that_they_need(tmp_path):
    for dtype in (np.float32, np.float64):
        write_raw_predictions(tmp_path / 'raw.npz', raw({'a': [window(50, 0, dtype)]}))
        with np.load(tmp_path / 'raw.npz') as file:
            assert file['segments_seconds'].dtype == dtype
            assert file['scores'].dtype == np.float32 and file['labels'].dtype == np.uint16


def rewrite(path, **changes):
    write_raw_predictions(path, raw({'a': [window(4, 1)]}))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize('changes, message', [
    (dict(scores=np.ones(3)), 'segments_seconds and labels must have as many rows as scores .3.'),
    (dict(window_lengths=np.array([7])), 'window_lengths must sum to it'),
    (dict(labels=np.ones(4)), 'labels cannot be of type float64'),
    (dict(settings=np.array('{}')), 'the settings are not those of this version'),
    (dict(settings=np.array(json.dumps(dict(post_processing=dict(method='x'), evaluation={},
                                            subsets=[])))), 'method must be one of'),
    (dict(video_names=np.array([None])), 'pickled objects are never loaded')])
def test_files_that_are_refused(tmp_path, changes, message):
    with pytest.raises(EvaluationError, match=message):
        read_raw_predictions(rewrite(tmp_path / 'raw.npz', **changes))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(EvaluationError, match='no such file of raw predictions'):
        read_raw_predictions(tmp_path / 'none.npz')
    with pytest.raises(EvaluationError, match='Cannot write the raw predictions to'):
        write_raw_predictions(tmp_path / 'no' / 'raw.npz', raw({}))

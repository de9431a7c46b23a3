"""Files that a test writes, by the options of its tool."""

import pytest
from mmengine.config import Config

from sbp_tad.apis.dumps import set_dump, set_raw_dump
from sbp_tad.errors import ConfigError


def config(**entries):
    return Config(entries)


@pytest.mark.parametrize('path, out_files, types', [
    (None, ['work/detections.json'], ['TADMetric']),
    ('x.json.gz', ['x.json.gz'], ['TADMetric']),
    ('x.pkl', ['work/detections.json'], ['TADMetric', 'DumpResults'])])
def test_dump(path, out_files, types):
    cfg = config(work_dir='work', test_evaluator=dict(type='TADMetric'))
    set_dump(cfg, path)
    assert [e.type for e in cfg.test_evaluator] == types
    assert [e.out_file for e in cfg.test_evaluator if 'out_file' in e] == out_files


@pytest.mark.parametrize('path, out_file', [
    (None, 'work/frame_scores.npz'), ('x.npz', 'x.npz'), ('x.pkl', 'work/frame_scores.npz')])
def test_dump_of_online_detection(path, out_file):
    cfg = config(work_dir='work', test_evaluator=dict(type='sbp_tad.OnlineMetric'))
    set_dump(cfg, path)
    assert cfg.test_evaluator[0].out_file == out_file
    with pytest.raises(ConfigError, match='--dump writes .npz or .pkl, got x.json'):
        set_dump(cfg, 'x.json')


def test_dump_writes_known_kinds_only():
    with pytest.raises(ConfigError, match='--dump writes .json, .json.gz or .pkl, got x.c'):
        set_dump(config(test_evaluator=dict(type='TADMetric')), 'x.csv')


def test_dump_of_a_metric_that_writes_no_detections():
    """A metric of mmaction writes none: --dump x.json left no file behind."""
    cfg = config(test_evaluator=dict(type='AccMetric'))
    with pytest.raises(ConfigError, match='--dump writes .pkl, got x.json.*AccMetric'):
        set_dump(cfg, 'x.json')
    set_dump(cfg, 'x.pkl')
    assert [evaluator['type'] for evaluator in cfg.test_evaluator] == ['AccMetric', 'DumpResults']


def test_raw_dump_is_an_option_of_the_metric():
    cfg = config(test_evaluator=[dict(type='AccMetric'), dict(type='TADMetric')])
    set_raw_dump(cfg, None)
    assert 'raw_file' not in cfg.test_evaluator[1]
    set_raw_dump(cfg, 'x.npz')
    assert cfg.test_evaluator[1].raw_file == 'x.npz' and 'raw_file' not in cfg.test_evaluator[0]


@pytest.mark.parametrize('path, metric', [('x.pkl', 'TADMetric'), ('x.npz', 'AccMetric')])
def test_raw_dump_that_nothing_writes(path, metric):
    with pytest.raises(ConfigError, match='writes an .npz file by TADMetric, got x'):
        set_raw_dump(config(test_evaluator=dict(type=metric)), path)

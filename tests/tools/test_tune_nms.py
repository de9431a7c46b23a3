"""The sweep from the command line: best first, refusals in words."""
import json

import numpy as np
import pytest

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.raw_predictions import RawPredictions, write_raw_predictions
from sbp_tad.segments.merging import PostProcessing


@pytest.fixture
def tool(load_tool):
    return load_tool('tune_nms')


@pytest.fixture
def files(tmp_path, write_annotation):
    truth = write_annotation({'a': dict(subset='test', duration=20.0, annotations=[
        dict(segment=[1, 5], label='run'), dict(segment=[2, 6], label='run')])})
    window = np.array([[1, 5], [2, 6.]]), np.array([0.9, 0.8]), np.array([0, 0])
    write_raw_predictions(tmp_path / 'raw.npz', RawPredictions(
        {'a': [window]}, ('run', ), PostProcessing(method='hard', iou_threshold=0.3),
        EvaluationOptions(tiou_thresholds=(0.5, 0.9)), ('test', )))
    return [str(tmp_path / 'raw.npz'), '--ground-truth', str(truth)]


def test_best_setting_first_and_that_of_the_test_among_them(tool, files, tmp_path, capsys):
    out = tmp_path / 'out.json'
    tool.main([*files, '--grid', 'method=hard,gaussian', '--json', str(out)])
    found = json.loads(out.read_text())
    assert [(one['post_processing']['method'], one['average_mAP']) for one in found] == [
        ('gaussian', 1.0), ('hard', 0.5)]
    assert 'gaussian' in capsys.readouterr().out
    source = json.loads((tmp_path / 'provenance.json').read_text())['out.json']
    assert [source[name]['path'] for name in ('dump', 'ground_truth')] == [files[0], files[2]]
    tool.main([*files, '--tiou', '0.6', '--json', str(out)])
    assert json.loads(out.read_text())[0]['mAP'] == {'0.60': 0.5}


def test_video_level_scores(tool, files, tmp_path):
    scores, out = tmp_path / 'scores.json', tmp_path / 'out.json'
    scores.write_text('{"a": {"run": 0.5}}')
    tool.main([*files, '--video-scores', str(scores), '--top-k', '1', '--fusion',
               'geometric_mean', '--json', str(out)])
    assert json.loads(out.read_text())[0]['average_mAP'] == 0.5


def test_refusals(tool, files, tmp_path):
    with pytest.raises(EvaluationError, match='--processes must be at least 1, got 0'):
        tool.main([*files, '--processes', '0'])
    for option in ('--top-k', '3'), ('--fusion', 'product'):
        with pytest.raises(EvaluationError, match='--top-k and --fusion go with --video-scores'):
            tool.main([*files, *option])
    with pytest.raises(EvaluationError, match='Cannot write the results to /dev/full'):
        tool.main([*files, '--json', '/dev/full'])

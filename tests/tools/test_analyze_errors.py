"""``tools/analyze_errors.py`` as it is called."""
import json
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIXTURE = str(ROOT / 'tests' / 'data' / 'evaluation' / 'mmaction2_eval_localization')
FILES = ['--ground-truth', FIXTURE + '_gt.json', '--predictions', FIXTURE + '.json.gz']


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'analyze_errors')


def test_json_and_plots_are_written(run, tmp_path):
    status, printed, errors = run(*FILES, '--subset', 'validation', '--out', tmp_path, '--tiou',
                                  '0.5,0.75', '--buckets', 'activitynet')
    assert status == 0 and errors.startswith('Analysing ') and len(errors.splitlines()) == 1
    assert 'average mAP' in printed and 'localization' in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'error_analysis.json', 'false_negatives.png', 'false_positives.png', 'provenance.json',
        'sensitivity.png']
    source = json.loads((tmp_path / 'provenance.json').read_text())['analyze_errors']
    assert source['predictions']['bytes'] > 0 and source['ground_truth']['sha256']
    content = json.loads((tmp_path / 'error_analysis.json').read_text())
    assert content['tiou_thresholds'] == [0.5, 0.75]
    assert content['subset'] == 'validation'
    assert content['buckets']['length']['XS']['up_to'] == 30
    assert content['num_predictions'] == 14


@pytest.mark.parametrize('change, message', [
    (['--subset', 'other'], 'no video is in subset'),
    (['--background-tiou', '0.5'], 'not above the lowest tIoU threshold 0.3, got 0.5'),
    (['--exclude-video', 'bYUmtLBL7W4', 'hDPLy21Yyuk'], 'no ground truth to find'),
    (['--out', FIXTURE + '.json.gz'], '.json.gz is a file. Give a folder.')])
def test_bad_input_is_a_sentence_and_status_2(run, tmp_path, change, message):
    status, _, errors = run(*FILES, '--subset', 'validation', '--out', tmp_path, *change)
    assert status == 2
    assert message in errors


@pytest.mark.parametrize('name', ['error_analysis.json', 'sensitivity.png'])
def test_a_file_that_cannot_be_written_is_named(name, run, tmp_path):
    (tmp_path / name).mkdir()
    status, _, errors = run(*FILES, '--subset', 'validation', '--out', tmp_path)
    assert status == 2
    assert 'Cannot write' in errors and name in errors

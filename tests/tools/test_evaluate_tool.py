"""``tools/evaluate.py`` as it is called: files in, tables and JSON out, faults in a sentence."""
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIXTURE = str(ROOT / 'tests' / 'data' / 'evaluation' / 'mmaction2_eval_localization')
FILES = ['--ground-truth', FIXTURE + '_gt.json', '--predictions', FIXTURE + '.json.gz']


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'evaluate')


def test_runs_as_a_script(tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, ROOT / 'tools' / 'evaluate.py', *FILES, '--subset']
    good, bad = (subprocess.run([*command, subset], capture_output=True, text=True, cwd=tmp_path,
                                env=environment) for subset in ('validation', 'none'))
    assert (good.returncode, good.stderr) == (0, '')
    assert '95.83' in good.stdout
    assert (bad.returncode, bad.stdout) == (2, '')
    assert bad.stderr.startswith('Error: ') and len(bad.stderr.splitlines()) == 1


@pytest.mark.parametrize('protocol', ['activitynet', 'thumos14-official'])
def test_json_holds_the_expected_figures(run, tmp_path, protocol):
    expected = json.loads(Path(FIXTURE + '_expected.json').read_text())
    thresholds = ','.join(map(str, expected['tiou']))
    status, _, errors = run(*FILES, '--subset', 'validation', '--tiou', thresholds,
                            '--protocol', protocol, '--json', tmp_path / 'out.json')
    assert (status, errors) == (0, '')
    result = json.loads((tmp_path / 'out.json').read_text())
    names = [f'{tiou:.2f}' for tiou in expected['tiou']]
    figures = expected[protocol]
    assert result['mAP'] == pytest.approx(dict(zip(names, figures['mAP'])), abs=1e-6)
    for label, row in figures['per_class_AP'].items():
        assert result['per_class'][label] == pytest.approx(dict(zip(names, row)), abs=1e-6)
    mean = sum(figures['mAP']) / len(names)
    assert result['average_mAP'] == pytest.approx(mean, abs=1e-6)
    assert (result['protocol'], result['subset']) == (protocol, 'validation')
    assert (result['num_ground_truth'], result['num_predictions']) == (4, 14)


def test_tables_are_printed(run):
    status, printed, _ = run(*FILES, '--subset', 'validation', '--tiou', '0.3:0.7:0.1')
    assert status == 0
    for text in ('Cleaning shoes', 'Wakeboarding', '0.30', '0.70', '95.83', '71.43', 'mAP'):
        assert text in printed


def test_every_rule_can_be_set(run, tmp_path):
    rules = {'outside_videos': 'drop', 'unknown_labels': 'error', 'empty_detections': 'drop',
             'duplicate_ground_truth': 'drop', 'zero_length_ground_truth': 'error',
             'late_ground_truth': 'drop'}
    flags = [part for name, value in rules.items()
             for part in ('--' + name.replace('_', '-'), value)]
    status, *_ = run(*FILES, '--subset', 'validation,other', '--tiou', '0.5', *flags,
                     '--exclude-video', 'hDPLy21Yyuk', 'absent', '--ignore-label', 'x', 'y',
                     '--json', tmp_path / 'out.json')
    assert status == 0
    result = json.loads((tmp_path / 'out.json').read_text())
    assert result['options'] == {
        'protocol': 'activitynet', 'tiou_thresholds': [0.5], 'ignored_labels': ['x', 'y'],
        'excluded_videos': ['hDPLy21Yyuk', 'absent'], **rules}
    assert list(result['per_class']) == ['Wakeboarding']
    assert result['subset'] == 'validation,other'


def test_ignored_labels_can_be_none(run, tmp_path):
    assert run(*FILES, '--subset', 'validation', '--ignore-label', '--json',
               tmp_path / 'out.json')[0] == 0
    assert json.loads((tmp_path / 'out.json').read_text())['options']['ignored_labels'] == []


def test_a_dataset_states_subset_thresholds_and_rules(run, tmp_path):
    """Options given beside it come first; ActivityNet clips, so late segments are dropped."""
    out = tmp_path / 'out.json'
    assert run(*FILES, '--dataset', 'ActivityNetDataset', '--json', out)[0] == 0
    declared = json.loads(out.read_text())
    assert declared['subset'] == 'validation'
    assert declared['options']['tiou_thresholds'] == [i / 100 for i in range(50, 100, 5)]
    assert declared['options']['late_ground_truth'] == 'drop'
    assert declared['options']['zero_length_ground_truth'] == 'drop'
    assert declared['options']['ignored_labels'] == []
    assert run(*FILES, '--dataset', 'THUMOS14Dataset', '--subset', 'validation', '--tiou', '0.5',
               '--late-ground-truth', 'keep', '--json', out)[0] == 0
    chosen = json.loads(out.read_text())['options']
    assert (chosen['tiou_thresholds'], chosen['late_ground_truth']) == ([0.5], 'keep')
    assert chosen['excluded_videos'] == ['video_test_0001292', 'video_test_0000270']


def test_the_test_set_of_a_published_code_is_chosen_by_name(run, tmp_path):
    out = tmp_path / 'out.json'
    command = (*FILES, '--dataset', 'THUMOS14Dataset', '--subset', 'validation', '--json', out)
    for name, excluded, late, protocol in (
            ('opentad', ['video_test_0001292', 'video_test_0000270'], 'keep', 'activitynet'),
            ('official-213', [], 'keep', 'thumos14-official'),
            ('212', ['video_test_0001292'], 'drop', 'activitynet')):
        assert run(*command, '--test-set', name)[0] == 0
        options = json.loads(out.read_text())['options']
        assert (options['excluded_videos'], options['late_ground_truth'],
                options['protocol']) == (excluded, late, protocol)
    status, _, errors = run(*command, '--test-set', 'other')
    assert status == 2 and "'official-213'], got 'other'" in errors
    status, _, errors = run(*FILES, '--subset', 'validation', '--test-set', 'opentad')
    assert status == 2 and '--test-set opentad needs a --dataset with protocols' in errors


def test_without_a_dataset_the_subset_must_be_named(run):
    status, _, errors = run(*FILES)
    assert status == 2 and 'Give --subset, or --dataset' in errors
    status, _, errors = run(*FILES, '--dataset', 'Other')
    assert status == 2 and "There is no dataset 'Other'; expected" in errors


@pytest.mark.parametrize('change, message', [
    (['--subset', 'val'], 'no video is in subset'),
    (['--tiou', '0.7:0.3:0.1'], 'needs start <= end'),
    (['--tiou', '0'], 'must lie in (0, 1]'),
    (['--tiou', '0.3-0.7'], "a range start:end:step like 0.3:0.7:0.1, got '0.3-0.7'"),
    (['--predictions', 'none.json'], 'Cannot read the detections in none.json'),
    (['--predictions', FIXTURE + '_gt.json'], 'holds annotations'),
    (['--ground-truth', FIXTURE + '.json.gz'], "expected {'database'"),
    (['--exclude-video', 'bYUmtLBL7W4', 'hDPLy21Yyuk'], 'no ground truth to find'),
    (['--protocol', 'other'], 'invalid choice'),
    (['--json', 'none/out.json'], '--json none/out.json cannot be written: the folder none '
     'does not exist'),
    (['--json', '/dev/full'], 'Cannot write the result to /dev/full: No space left'),
])
def test_bad_input_is_a_sentence_and_status_2(run, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(*FILES, '--subset', 'validation', *change)
    assert status == 2
    assert message in errors
    assert len(errors.splitlines()) == 1 or 'usage:' in errors


def test_details_are_printed_and_in_the_json(run, tmp_path):
    status, printed, errors = run(*FILES, '--subset', 'validation', '--bootstrap', 50, '--seed', 3,
                                  '--average-recall', '--per-video', '--json', tmp_path / 'x.json')
    assert (status, errors) == (0, '')
    for text in ('95 % lower, 50 draws', 'AR@100', 'Average recall, tIoU 0.5 to 0.95',
                 'Mean average precision per video', 'hDPLy21Yyuk'):
        assert text in printed
    result = json.loads((tmp_path / 'x.json').read_text())
    assert (result['bootstrap']['num_samples'], result['bootstrap']['seed']) == (50, 3)
    low, high = result['bootstrap']['average_mAP']
    assert 0 <= low <= result['average_mAP'] <= high <= 1
    assert 0 < result['average_recall']['AUC'] <= result['average_recall']['AR@100'] <= 1
    assert sum(video['num_ground_truth'] for video in result['per_video'].values()) == 4


@pytest.mark.parametrize('options, message', [
    (['--seed', 1], '--seed belongs to a bootstrap; give --bootstrap N too'),
    (['--bootstrap', 0], 'at least 1 draw, got 0'),
    (['--bootstrap', 9, '--protocol', 'thumos14-official'], 'need the protocol activitynet')])
def test_a_bootstrap_that_cannot_be_is_refused(run, options, message):
    status, _, errors = run(*FILES, '--subset', 'validation', *options)
    assert status == 2 and message in errors


def test_nan_score_is_named(run, tmp_path):
    path = tmp_path / 'nan.json'
    path.write_text('{"v": [{"segment": [0, 1], "label": "Wakeboarding", "score": NaN}]}')
    status, _, errors = run(*FILES, '--subset', 'validation', '--predictions', path)
    assert status == 2
    assert "'v', entry 0: \"score\" must be a finite number, got nan" in errors

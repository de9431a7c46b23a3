"""``tools/evaluate.py --online``: a file of frame scores in, table and JSON out."""
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from frame_score_cases import frame_scores

from sbp_tad.datasets.thumos14 import THUMOS14_CLASSES
from sbp_tad.evaluation.frame_evaluation import evaluate_frames
from sbp_tad.evaluation.frame_scores import write_frame_scores
from sbp_tad.provenance import file_sha256


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'evaluate')


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'frames.npz'
    write_frame_scores(path, frame_scores())
    return path


@pytest.mark.parametrize('smooth', [False, True])
def test_json_and_table_hold_the_figures(run, file, tmp_path, smooth):
    status, text, errors = run('--online', file, '--json', tmp_path / 'out.json',
                               *(['--smooth'] if smooth else []))
    assert (status, errors) == (0, '')
    expected = evaluate_frames(frame_scores(), smooth).to_json()
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found.pop('provenance')['files']['online']['sha256'] == file_sha256(file)
    assert found == expected
    assert f'{100 * expected["per_class"]["action 0"]:.2f}' in text


def test_classes_have_the_names_of_file_or_dataset(run, tmp_path):
    path, out = tmp_path / 'frames.npz', tmp_path / 'out.json'
    for num_classes, arguments, expected in (
            (3, [], ['class 1', 'class 2', 'class 3']), (20, [], list(THUMOS14_CLASSES)),
            (6, ['--dataset', 'ToyDataset'], None)):
        write_frame_scores(path, frame_scores(num_classes=num_classes, names=False))
        assert run('--online', path, '--json', out, *arguments)[0] == 0
        names = list(json.loads(out.read_text())['per_class'])
        assert names == expected or (expected is None and 'class 1' not in names)


def test_the_real_file_gives_the_expected_figures(run, shared_data, tmp_path):
    folder = shared_data / 'eval'
    expected = json.loads((folder / 'expected' / 'oad3.json').read_text())
    figures = expected['cases']['oad3_absent_classes']['expected']
    status, _, _ = run('--online', folder / 'oad3_absent_classes.npz', '--json',
                       tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert status == 0
    assert found['mAP'] == pytest.approx(figures['AP_no_postprocessing']['mean'], abs=1e-9)
    assert found['per_class'] == pytest.approx(figures['AP_no_postprocessing']['per_class'])
    calibrated = figures['cAP_no_postprocessing']
    assert found['calibrated_mAP'] is calibrated['mean'] is None
    assert {name: value and round(value, 9) for name, value in found['calibrated_per_class'].items()
            } == {name: value and round(value, 9)
                  for name, value in calibrated['per_class'].items()}


@pytest.mark.parametrize('arguments, message', [
    (['--online', 'none.npz'], 'none.npz: no such file of frame scores'),
    (['--online', 'frames.npz', '--subset', 'test'], 'go with --online, got also subset'),
    (['--online', 'frames.npz', '--tiou', '0.5'], 'got also tiou_thresholds'),
    (['--online', 'frames.npz', '--dataset', 'Other'], "There is no dataset 'Other'"),
    (['--online', 'frames.npz', '--dataset', 'ToyDataset'], 'ToyDataset has 6. Name the dataset'),
    (['--online', 'frames.npz', '--json', 'none/out.json'], 'the folder none does not exist'),
    (['--online', 'frames.npz', '--json', '/dev/full'], 'Cannot write the result'),
    (['--smooth'], 'Give --ground-truth and --predictions'),
    (['--predictions', 'x.json'], 'Give --ground-truth and --predictions'),
])
def test_bad_input_is_a_sentence_and_status_2(run, file, monkeypatch, arguments, message):
    monkeypatch.chdir(file.parent)
    status, _, errors = run(*arguments)
    sentences = [line for line in errors.splitlines() if not line.startswith('Loading ')]
    assert status == 2 and message in errors and len(sentences) == 1


def test_only_ambiguous_frames_are_nothing_to_score(run, tmp_path):
    frames = frame_scores()
    write_frame_scores(tmp_path / 'f.npz', replace(frames, targets=np.ones_like(frames.targets)))
    status, _, errors = run('--online', tmp_path / 'f.npz')
    assert status == 2 and 'no action to find in 0 frames' in errors

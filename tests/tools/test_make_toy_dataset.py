"""The command that draws the toy dataset."""
import json
from functools import partial
from pathlib import Path

import pytest

TINY = ('--train-videos', '1', '--test-videos', '0', '--size', '32', '--min-seconds', '4',
        '--max-seconds', '5')


@pytest.fixture
def run(call_tool):
    """Call the tool in this process: (status, stdout, stderr)."""
    return partial(call_tool, 'make_toy_dataset')


def test_command_writes_the_set_and_then_reuses_it(tmp_path, run):
    arguments = ['--out', str(tmp_path), *TINY, '--workers', '1', '--seed', '3']
    status, printed, _ = run(*arguments)
    assert status == 0 and '1 training and 0 test videos written in' in printed
    content = json.loads((tmp_path / 'annotations.json').read_text())
    assert content['settings']['seed'] == 3 and list(content['database']) == ['toy_training_0000']
    status, printed, _ = run(*arguments)
    assert status == 0 and 'are present already' in printed


def test_command_writes_trimmed_clips_of_a_look(tmp_path, run):
    assert run('--out', tmp_path, *TINY, '--trimmed', '--look', 'fur', '--fps', '6')[0] == 0
    settings = json.loads((tmp_path / 'annotations.json').read_text())['settings']
    assert settings['trimmed'] and settings['look'] == 'fur' and settings['fps'] == 6
    assert (tmp_path / 'train_list_videos.txt').read_text() == 'toy_training_0000.mp4 0\n'


def test_defaults_are_those_of_the_issue(load_tool):
    options = load_tool('make_toy_dataset').build_parser().parse_args([])
    assert (options.train_videos, options.test_videos, options.seed) == (48, 24, 0)
    assert (options.size, options.fps, options.min_seconds, options.max_seconds) == (80, 12, 20, 60)
    assert options.out == Path('data/toy')


@pytest.mark.parametrize('arguments, message', [
    (('--size', '33'), 'Error: Toy dataset: size must be an even number of pixels'),
    (('--trimmed',), 'Error: Toy dataset: min_seconds and max_seconds of trimmed clips'),
    (('--train-videos', '0'), 'argument --train-videos: expected 1 or more, got 0'),
    (('--look', 'photos'), "invalid choice: 'photos'"),
])
def test_bad_option_ends_with_a_sentence_and_status_2(tmp_path, run, arguments, message):
    status, _, errors = run('--out', tmp_path, *arguments)
    assert status == 2
    assert message in errors and 'Traceback' not in errors
    assert not list(tmp_path.iterdir())

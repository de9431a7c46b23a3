"""The command that draws the toy dataset."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ('--train-videos', '1', '--test-videos', '0', '--size', '32', '--min-seconds', '4',
        '--max-seconds', '5')


def make(*arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.run([sys.executable, str(ROOT / 'tools' / 'make_toy_dataset.py'), *arguments],
                          capture_output=True, text=True, env=environment, check=False)


def load_tool():
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location('make_toy_dataset', ROOT / 'tools' / 'make_toy_dataset.py')
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_command_writes_the_set_and_then_reuses_it(tmp_path, capsys):
    tool = load_tool()
    arguments = ['--out', str(tmp_path), *TINY, '--workers', '1', '--seed', '3']
    tool.main(arguments)
    assert '1 training and 0 test videos written in' in capsys.readouterr().out
    content = json.loads((tmp_path / 'annotations.json').read_text())
    assert content['settings']['seed'] == 3 and list(content['database']) == ['toy_training_0000']
    tool.main(arguments)
    assert 'are already there' in capsys.readouterr().out


def test_command_writes_trimmed_clips_of_a_look(tmp_path):
    load_tool().main(['--out', str(tmp_path), *TINY, '--trimmed', '--look', 'fur', '--fps', '6'])
    settings = json.loads((tmp_path / 'annotations.json').read_text())['settings']
    assert settings['trimmed'] and settings['look'] == 'fur' and settings['fps'] == 6
    assert (tmp_path / 'train_list_videos.txt').read_text() == 'toy_training_0000.mp4 0\n'


def test_defaults_are_those_of_the_issue():
    options = load_tool().build_parser().parse_args([])
    assert (options.train_videos, options.test_videos, options.seed) == (48, 24, 0)
    assert (options.size, options.fps, options.min_seconds, options.max_seconds) == (80, 12, 20, 60)
    assert options.out == Path('data/toy')


@pytest.mark.parametrize('arguments, message', [
    (('--size', '33'), 'Error: Toy dataset: size must be an even number of pixels'),
    (('--trimmed',), 'Error: Toy dataset: min_seconds and max_seconds of trimmed clips'),
    (('--look', 'photos'), "invalid choice: 'photos'"),
])
def test_bad_option_ends_with_a_sentence_and_status_2(tmp_path, arguments, message):
    process = make('--out', str(tmp_path), *arguments)
    assert process.returncode == 2
    assert message in process.stderr and 'Traceback' not in process.stderr
    assert not list(tmp_path.iterdir())

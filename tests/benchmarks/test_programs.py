"""Every program of the benchmarks starts as a module and is listed in their README."""
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'benchmarks'
PROGRAMS = sorted(path.stem for path in FOLDER.glob('*.py') if '\ndef main(' in path.read_text())
README = (FOLDER / 'README.md').read_text()


@pytest.mark.filterwarnings('ignore:.*found in sys.modules:RuntimeWarning')
@pytest.mark.parametrize('name', PROGRAMS)
def test_a_program_starts_as_a_module(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(f'benchmarks.{name}', run_name='__main__')
    assert caught.value.code == 0
    assert ('--json' in capsys.readouterr().out) != (name == 'published_features')


def test_the_readme_lists_all_programs_and_results():
    assert PROGRAMS == ['decoding', 'nms', 'online', 'online_windows', 'published_features',
                        'published_training', 'recipe', 'sbp_forms', 'variance']
    assert all(f'python -m benchmarks.{name}' in README for name in PROGRAMS)
    patterns = [word.strip('`,|') for word in README.split() if word.startswith('`results/')]
    listed = {path for pattern in patterns for path in FOLDER.glob(pattern)}
    assert listed - {FOLDER / 'results'} == set((FOLDER / 'results').glob('*.json'))

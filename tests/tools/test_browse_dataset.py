"""The browser draws windows of a config's data sets, and continues after one that fails."""
import json
from pathlib import Path

import pytest

from sbp_tad.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')


@pytest.fixture
def tool(load_tool):
    return load_tool('browse_dataset')


@pytest.fixture
def browse(tool, tmp_path, write_video):
    """Runs the tool on a data set of four videos, the last of which is no video."""
    (tmp_path / 'videos').mkdir()
    subsets = ('training', 'training', 'test', 'test')
    database = {f'v{number}': dict(subset=subset, duration=4.0, fps=10, annotations=[
        dict(segment=[1.0, 3.0], label='approach')]) for number, subset in enumerate(subsets)}
    for video in database:
        write_video(tmp_path / 'videos' / f'{video}.mp4', 40)
    (tmp_path / 'videos' / 'v3.mp4').write_bytes(b'no video')
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(database=database)))

    def run(*options):
        tool.main([CONFIG, '--out', str(tmp_path / 'out'), *options, '--cfg-options', *(
            f'{split}_dataloader.dataset.{key}={value}' for split in ('train', 'val')
            for key, value in (('data_root', tmp_path), ('num_frames', 16)))])
        return sorted(path.name for path in (tmp_path / 'out').glob('*'))
    return run


def test_training_windows_are_spread_over_the_set(browse, capsys):
    assert browse('--count', '3') == ['train_00000.png', 'train_00008.png', 'train_00015.png']
    assert 'v0, 1 segment\n' in capsys.readouterr().out


def test_unreadable_videos_are_said(browse, capsys):
    found = browse('--split', 'val', '--count', '99', '--frames', '4')
    assert found and all(name.startswith('val_') for name in found)
    assert 'v3.mp4' in capsys.readouterr().out


def test_refusals(browse, tool, tmp_path):
    with pytest.raises(ConfigError, match='--count and --frames must be at least 1, got 0 and 12'):
        browse('--count', '0')
    config = tmp_path / 'mine.py'
    config.write_text('model = dict()')
    with pytest.raises(ConfigError, match='mine.py has no val_dataloader'):
        tool.main([str(config), '--split', 'val', '--out', str(tmp_path)])

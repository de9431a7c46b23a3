"""Commands of the README and the tutorials, run through the shell as a user types them.

They run in a folder that looks like the repository, with the toy set as it is
and schedules of two epochs.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import FENCE, ROOT, TUTORIALS, commands, page

pytestmark = pytest.mark.nightly
SHORT = [(r'max_epochs = \d+', 'max_epochs = 2'), (r'val_interval=\d+', 'val_interval=2')]
FOLDERS = ('tools', 'benchmarks', 'sbp_tad')


def shorten(schedule):
    """Cut a schedule to two epochs, the shortest with warm-up and decay."""
    text = schedule.read_text()
    for pattern, replacement in SHORT:
        text = re.sub(pattern, replacement, text)
    schedule.write_text(text)


@pytest.fixture(scope='module')
def repository(tmp_path_factory):
    """A folder with what the commands use, shared as a user goes from page to page."""
    folder = tmp_path_factory.mktemp('repository')
    for name in FOLDERS:
        (folder / name).symlink_to(ROOT / name)
    subprocess.run(['cp', '-r', str(ROOT / 'configs'), str(folder / 'configs')], check=True)
    (folder / '.venv').symlink_to(sys.prefix)
    for name in ('adamw_short', 'adamw_online_toy'):
        shorten(folder / f'configs/_base_/schedules/{name}.py')
    run(folder, ['python tools/make_toy_dataset.py'])
    return folder


def run(folder, lines):
    """Run lines in one shell, which ends at the first that fails."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1',
                       PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = subprocess.run(['bash', '-euxo', 'pipefail', '-c', '\n'.join(lines)], cwd=folder,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def bring_kitchen(folder):
    """Two videos, the table and the config that the page shows."""
    name = 'docs/tutorials/your_videos.md'
    videos = folder / 'data/kitchen/videos'
    videos.mkdir(parents=True)
    for number, video in enumerate(('morning_01', 'evening_07')):
        (videos / f'{video}.mp4').symlink_to(folder / f'data/toy/videos/toy_test_000{number}.mp4')
    blocks = [match['text'] for match in FENCE.finditer(page(name))]
    table, = [text for text in blocks if text.startswith('video,start,end')]
    (videos.parent / 'segments.csv').write_text(table)
    config, = [text for text in blocks if 'small = dict' in text]
    (folder / 'kitchen_small.py').write_text(config)


def test_first_detector(repository):
    printed = run(repository, commands('docs/tutorials/first_detector.md'))
    assert 'average mAP' in printed or 'average_mAP' in printed
    for path in ('training.png', 'report/index.html', 'found.json', 'found'):
        assert (repository / path).exists(), path


def test_your_videos(repository):
    bring_kitchen(repository)
    run(repository, commands('docs/tutorials/your_videos.md'))
    assert list((repository / 'work_dirs/kitchen_small').glob('epoch_*.pth'))
    assert list((repository / 'kitchen_windows').iterdir())
    for path in ('kitchen_found.json', 'kitchen_detections', 'kitchen_report/index.html'):
        assert (repository / path).exists(), path


def test_features_to_end_to_end(repository):
    if not list(repository.glob('work_dirs/actionformer_r3d10_sbp-r4_toy/best.pth')):
        run(repository, ['python tools/train.py configs/toy/actionformer_r3d10_sbp-r4_toy.py'])
    run(repository, commands('docs/tutorials/features_to_end_to_end.md'))
    assert list((repository / 'work_dirs/from_features').glob('best.pth'))


def test_online_detection(repository):
    assert ' s' in run(repository, commands('docs/tutorials/online_detection.md'))


def test_readme(repository):
    printed = run(repository, commands('README.md'))
    assert 'toy_test_0000' in printed


def test_every_page_with_commands_is_run():
    run_here = {'README.md', *(f'docs/tutorials/{name}.md' for name in (
        'first_detector', 'your_videos', 'features_to_end_to_end', 'online_detection'))}
    assert {str(path.relative_to(ROOT)) for path in TUTORIALS} == run_here
    assert all(commands(name) for name in run_here)

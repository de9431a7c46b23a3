"""A built wheel, installed where nothing of the repository can be seen."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a source distribution is made of; neither build folders nor data of the tree.
SOURCES = ('sbp_tad', 'configs', 'tools', 'setup.cfg', 'pyproject.toml', 'model-index.yml',
           'README.md', 'LICENSE')
BUILD = ('import sys; from setuptools import build_meta; '
         "getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])")
PROGRAM = '''
import sbp_tad
from mmengine.config import Config
cfg = Config.fromfile('mine.py')
assert cfg.model.head.num_classes == 2, cfg.model.head
assert cfg.model.backbone.keep_ratio == 0.25
from sbp_tad.registry import DATASETS, MODELS
model = MODELS.build(cfg.model)
DATASETS.get('ActivityNetDataset')  # reads its class names from a file
print(sbp_tad.__file__, type(model).__name__, sum(p.numel() for p in model.parameters()))
'''

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run without what the caller's environment adds for Python; all that it printed."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith('PYTHON')}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built from the source distribution of a copy of the tree."""
    folder = tmp_path_factory.mktemp('build')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / 'tree' / name, symlinks=True,
                            ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, folder / 'tree')
    run(sys.executable, '-c', BUILD, 'sdist', folder, cwd=folder / 'tree')
    archive, = folder.glob('*.tar.gz')
    shutil.unpack_archive(archive, folder, filter='data')
    run(sys.executable, '-c', BUILD, 'wheel', folder, cwd=folder / archive.name[:-len('.tar.gz')])
    built, = folder.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def python(wheel, tmp_path_factory):
    """The Python of a new environment with the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp('environment')
    run(sys.executable, '-m', 'venv', '--without-pip', folder, cwd=folder)
    python = folder / 'bin' / 'python'
    site, = folder.glob('lib/python*/site-packages')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # As a path the folder is searched, while its own .pth files, the editable
    # installation of the repository among them, are not executed.
    (site / 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return python


def test_wheel_carries_configs_tools_and_class_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ('configs', 'tools'):
        for path in (ROOT / folder).rglob('*'):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and '__pycache__' not in name:
                assert f'sbp_tad/.mim/{name}' in names
    assert 'sbp_tad/.mim/model-index.yml' in names
    for path in (ROOT / 'sbp_tad').rglob('*.txt'):
        assert path.relative_to(ROOT).as_posix() in names
    assert not any(name.startswith(('tests', 'configs', 'tools')) for name in names)


@pytest.mark.nightly
def test_config_of_the_package_is_inherited_and_built(python, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'sbp_tad::toy/actionformer_r3d10_sbp-r4_toy.py'\n"
        'model = dict(head=dict(num_classes=2))\n')
    file, model, num_parameters = run(python, '-W', 'ignore', '-c', PROGRAM,
                                      cwd=tmp_path).splitlines()[-1].split()
    assert Path(file).is_relative_to(python.parents[1])
    assert model == 'TemporalDetector' and int(num_parameters) > 1000


def test_tools_of_the_package_run(python, tmp_path):
    site, = python.parents[1].glob('lib/python*/site-packages')
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'sbp_tad::actionformer/actionformer_tsn-r50_sbp-r4_128x4_thumos14.py'\n")
    tools = site / 'sbp_tad' / '.mim' / 'tools'
    assert 'usage' in run(python, tools / 'make_toy_dataset.py', '--help', cwd=tmp_path)
    # Training gets as far as the data, which are not there.
    assert 'data/thumos14' in run(python, '-W', 'ignore', tools / 'train.py', 'mine.py',
                                  cwd=tmp_path, status=2)

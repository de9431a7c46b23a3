"""Configs and checkpoints that a command line names, found or refused without heavy imports."""
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config

from sbp_tad.apis import named_files
from sbp_tad.apis.named_files import (
    check_checkpoint,
    check_config,
    find_config,
    resumed_checkpoint,
)
from sbp_tad.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')


def test_a_recipe_is_found_by_its_name():
    path = find_config('actionformer_r3d10_sbp-r4_toy')
    assert path.endswith('configs/toy/actionformer_r3d10_sbp-r4_toy.py') and Path(path).is_file()
    assert find_config('somewhere/mine.py') == 'somewhere/mine.py'
    assert find_config(path) == path


def test_a_name_that_no_recipe_has():
    with pytest.raises(ConfigError, match="no config is named 'actionformer_toy'. Give the path of "
                                          'a config, or the name of a recipe, for example .*toy'):
        find_config('actionformer_toy')


def test_an_installed_package_has_its_recipes_within(tmp_path, monkeypatch):
    """As in site-packages, where no source tree lies beside the package."""
    package = tmp_path / 'site' / 'sbp_tad'
    for folder in ('.mim/configs/toy', '.mim/configs/_base_'):
        (package / folder).mkdir(parents=True)
        (package / folder / 'mine.py').touch()
    monkeypatch.setattr(named_files, 'PACKAGE', package)
    assert find_config('mine') == str(package / '.mim/configs/toy/mine.py')
    (package / '.mim/configs/other').mkdir()
    (package / '.mim/configs/other/mine.py').touch()
    with pytest.raises(ConfigError, match="several configs are named 'mine': .*path of"):
        find_config('mine')


@pytest.mark.parametrize('name', [
    'mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py',
    'sbp_tad::toy/actionformer_r3d10_sbp-r4_toy.py'])
def test_a_config_of_a_package_is_found_as_in_base(name):
    path = find_config(name)
    assert check_config(name) == path and path.endswith(name.partition('::')[2])
    inherited = Config.fromstring(f'_base_ = {name!r}', '.py')
    assert Config.fromfile(path).model.backbone.type == inherited.model.backbone.type


@pytest.mark.parametrize('name, told', [
    ('absent_package::tsn.py', "there is no package 'absent_package'. Install it"),
    ('no such::tsn.py', "there is no package 'no such'"),
    ('mmaction::tsm_k400.py', 'the package mmaction has no such config. '),
    ('mmaction::tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py',
     'Did you mean mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kin')])
def test_a_config_that_no_package_has(name, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        find_config(name)


def test_a_config_must_exist():
    assert check_config(CONFIG) == CONFIG
    assert check_config('actionformer_r3d10_sbp-r4_toy') == str(Path(CONFIG).resolve())
    with pytest.raises(ConfigError, match='config absent.py does not exist. Give the path'):
        check_config('absent.py')


def test_a_checkpoint_must_exist_or_be_a_url(tmp_path):
    check_checkpoint('https://example.org/best.pth')
    (tmp_path / 'epoch_2.pth').touch()
    check_checkpoint(str(tmp_path / 'epoch_2.pth'))
    with pytest.raises(ConfigError, match='best.pth does not exist. .* That folder holds epoch_2'):
        check_checkpoint(str(tmp_path / 'best.pth'))
    with pytest.raises(ConfigError, match='is a folder. Give a file in it. That folder holds epo'):
        check_checkpoint(str(tmp_path))


def write_zip(path: Path, seconds: int) -> str:
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('data.pkl', 'x')
    os.utime(path, (seconds, seconds))
    return str(path)


def test_a_folder_is_resumed_from_its_newest_complete_checkpoint(tmp_path):
    with pytest.raises(ConfigError, match='the folder holds no complete epoch_.*Give the checkp'):
        resumed_checkpoint(str(tmp_path))
    epoch_10 = write_zip(tmp_path / 'epoch_10.pth', 3000)
    epoch_9 = write_zip(tmp_path / 'epoch_9.pth', 2000)
    write_zip(tmp_path / 'best_mAP_epoch_10.pth', 4000)  # weights alone
    (tmp_path / 'epoch_11.pth').write_bytes(Path(epoch_9).read_bytes()[:20])
    assert resumed_checkpoint(str(tmp_path)) == epoch_10
    (tmp_path / 'last_checkpoint').write_text(epoch_9)
    assert resumed_checkpoint(str(tmp_path)) == epoch_9
    assert resumed_checkpoint(epoch_10) == epoch_10


@pytest.mark.parametrize('command', [
    ('train.py', 'absent.py'), ('train.py', CONFIG, '--resume', 'absent.pth'),
    ('test.py', 'absent.py', 'absent.pth'), ('test.py', CONFIG, 'absent.pth'),
    ('infer.py', 'x.mp4', '--config', CONFIG, '--checkpoint', 'absent.pth'),
    ('infer_online.py', 'x.mp4', '--config', CONFIG, '--checkpoint', 'absent.pth'),
    ('extract_features.py', CONFIG, 'absent.pth', '--out', 'x'),
    ('plan_memory.py', 'absent.py', '--budget', '8GiB'),
    ('train.py', 'no_recipe'), ('infer.py', 'absent', '--config', CONFIG, '--checkpoint', CONFIG),
    ('infer_online.py', 'absent', '--config', CONFIG, '--checkpoint', CONFIG)],
    ids=lambda command: command[0])
def test_tools_refuse_absent_files_before_they_import_pytorch(command):
    code = ('import runpy, sys\n'
            'try:\n    runpy.run_path(sys.argv[0], run_name="__main__")\n'
            'except SystemExit as end:\n    print(end.code, "torch" in sys.modules)')
    argv = [str(ROOT / 'tools' / command[0]), *command[1:]]
    done = subprocess.run([sys.executable, '-c', f'import sys\nsys.argv = {argv}\n{code}'],
                          capture_output=True, text=True, check=True)
    assert done.stdout == '2 False\n'
    assert re.match("Error: .*(does not exist|no config is named 'no_recipe'|no such file or "
                    'folder: absent). Give ', done.stderr)
    assert len(done.stderr.splitlines()) == 1

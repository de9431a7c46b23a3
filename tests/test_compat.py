"""Each cure of sbp_tad.compat: the break, the cure, and no harm elsewhere."""
from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.config import config as config_module
from mmengine.config import utils as config_utils
from mmengine.logging import HistoryBuffer, MessageHub
from yapf.yapflib.yapf_api import FormatCode

from sbp_tad import compat
from sbp_tad.import_hooks import AfterImport, DRNFinder

REPOSITORY = Path(__file__).parents[1]
OWN = 'toy/actionformer_r3d10_sbp-r4_toy.py'
TSN = 'recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py'


def test_importlib_metadata_is_provided_only_where_missing(absent, monkeypatch):
    real = importlib.import_module('importlib_metadata')
    compat.provide_importlib_metadata()
    assert sys.modules['importlib_metadata'] is real

    monkeypatch.delitem(sys.modules, 'importlib_metadata')
    absent('importlib_metadata')
    compat.provide_importlib_metadata()
    provided = importlib.import_module('importlib_metadata')
    assert provided.distribution('sbp_tad').version and provided.PackageNotFoundError


def test_prepare_stack_works_once(monkeypatch):
    compat.prepare_stack()
    monkeypatch.delattr(compat, 'register_parent_types')  # would be missed by a second run
    compat.prepare_stack()


# ---------------------------------------------------------------- drn
def test_drn_is_provided_where_mmaction_asks_for_it():
    compat.prepare_stack()
    import mmaction.models

    source = Path(mmaction.models.localizers.__file__).read_text()
    assert hasattr(mmaction.models, 'DRN') == ('drn' in source)  # 1.2.0 does, 1.1.0 does not


def test_drn_finder_stands_last_and_once():
    compat.provide_missing_drn()
    compat.provide_missing_drn()
    finders = [type(finder) for finder in sys.meta_path]
    assert finders.count(DRNFinder) == 1
    importers = [finder for finder in sys.meta_path if finder is importlib.machinery.PathFinder]
    assert sys.meta_path.index(importers[0]) < finders.index(DRNFinder)


def test_drn_finder_answers_for_its_two_names_only():
    finder = DRNFinder()
    assert finder.find_spec('mmaction.models.localizers.drn').submodule_search_locations == []
    inner = finder.find_spec('mmaction.models.localizers.drn.drn')
    assert importlib.util.module_from_spec(inner).__name__ == inner.name
    assert finder.find_spec('mmaction.models.localizers.bmn') is None
    assert finder.find_spec('drn') is None


# ---------------------------------------------------------------- sbp_tad::
@pytest.mark.parametrize('first, second', [
    ('import sbp_tad', 'from mmengine.config import Config'),
    ('from mmengine.config import Config', 'import sbp_tad')])
def test_own_configs_are_found_from_anywhere(first, second, tmp_path):
    """In either order, from another folder, of a package installed in editable form too."""
    (tmp_path / 'mine.py').write_text(f'_base_ = "sbp_tad::{OWN}"\ncustom = "mine"\n')
    program = f'{first}\n{second}\n' + (
        'import sys; assert "mmaction" not in sys.modules\n'
        'cfg = Config.fromfile("mine.py"); print(cfg.custom, cfg.model.head.type)')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.stdout.split() == ['mine', 'AnchorFreeHead'], done.stderr


def test_own_configs_need_the_import(tmp_path):
    """The break: without the package mmengine refuses its name."""
    (tmp_path / 'mine.py').write_text(f'_base_ = "sbp_tad::{OWN}"\n')
    program = 'from mmengine.config import Config; Config.fromfile("mine.py")'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert 'mmengine does not support to load sbp_tad config' in done.stderr


def test_configs_are_offered_once_and_others_are_found_as_before(monkeypatch):
    import mmaction
    from mmengine.config import config

    compat.offer_configs()
    find = config.get_installed_path
    compat.offer_configs()
    assert config.get_installed_path is find
    assert find('sbp_tad') == str(REPOSITORY / 'sbp_tad')
    assert Path(find('mmaction2')).samefile(Path(mmaction.__file__).parent)
    with pytest.raises(FileNotFoundError, match='absent.py'):
        Config._get_cfg_path('sbp_tad::toy/absent.py', '')


@pytest.mark.parametrize('cure, module', [
    (compat.offer_configs, 'mmengine.config.config'),
    (compat.prepare_runners, 'mmengine.runner.runner')])
def test_finder_waits_once_where_mmengine_is_absent(cure, module, monkeypatch):
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    cure()
    cure()
    finders = [finder for finder in sys.meta_path
               if isinstance(finder, AfterImport) and finder.module == module]
    assert len(finders) == 1
    assert finders[0].find_spec('mmengine.config') is None


# ---------------------------------------------------------------- checkpoints
def runner_like_state() -> dict:
    """Return what ``Runner.save_checkpoint`` puts beside the weights."""
    hub = MessageHub('test_compat')
    for value in (1.0, 3.0):
        hub.update_scalar('train/loss', value)
    hub.update_scalar('train/time', np.float32(0.5))
    hub.update_info('best score', np.float64(0.25))
    hub.update_info('class_ids', np.arange(3))
    return {'meta': {'epoch': 1, 'dataset_meta': {'classes': ('a', 'b')}},
            'state_dict': {'weight': torch.ones(2)}, 'message_hub': hub.state_dict()}


@pytest.fixture
def no_safe_globals():
    """Torch's list of allowed objects, empty; as before afterwards."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def test_allowing_twice_adds_nothing():
    compat.allow_mmengine_checkpoints()
    count = len(torch.serialization.get_safe_globals())
    compat.allow_mmengine_checkpoints()
    assert len(torch.serialization.get_safe_globals()) == count


def test_mmengine_checkpoint_loads_with_weights_only(no_safe_globals, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(runner_like_state(), path)
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        torch.load(path, weights_only=True)

    compat.allow_mmengine_checkpoints()
    loaded = torch.load(path, weights_only=True)
    loss = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(loss, HistoryBuffer)
    assert loss.mean() == loss.statistics('mean') == 2.0
    info = loaded['message_hub']['runtime_info']
    assert info['best score'] == 0.25 and isinstance(info['best score'], np.float64)
    np.testing.assert_array_equal(info['class_ids'], [0, 1, 2])


def test_the_options_that_videomae_saves_load_with_weights_only(no_safe_globals, tmp_path):
    torch.save(dict(model={}, args=argparse.Namespace(lr=0.1)), tmp_path / 'checkpoint.pth')
    compat.allow_mmengine_checkpoints()
    assert torch.load(tmp_path / 'checkpoint.pth', weights_only=True)['args'].lr == 0.1


@pytest.mark.parametrize('core', [b'numpy.core', b'numpy._core'])
def test_checkpoints_of_either_numpy_load(core):
    from torch import _weights_only_unpickler as unpickler

    compat.allow_mmengine_checkpoints()
    data = pickle.dumps([np.float64(0.5), np.arange(3.0)], protocol=2)
    data = data.replace(b'numpy._core', b'numpy.core').replace(b'numpy.core', core)
    scalar, array = unpickler.load(io.BytesIO(data), encoding='ascii')
    assert scalar == 0.5 and array.tolist() == [0, 1, 2]


class Reduced:
    """Pickles as a call of the function with the arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('untrusted', [
    Reduced(os.system, 'exit 1'),
    Reduced(eval, '1 + 1'),
    Reduced(getattr, HistoryBuffer, '__init__'),
    Reduced(getattr, HistoryBuffer, 'register_statistics'),
    Reduced(getattr, 'text', 'format'),
    Reduced(Path, 'somewhere'),
])
def test_other_objects_are_still_refused(untrusted, tmp_path):
    compat.allow_mmengine_checkpoints()
    torch.save({'state_dict': untrusted}, tmp_path / 'untrusted.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'untrusted.pth', weights_only=True)


# ---------------------------------------------------------------- configs
def child_config(folder: Path) -> Path:
    path = folder / 'child.py'
    path.write_text(f"_base_ = 'mmaction::{TSN}'\nmodel = dict(cls_head=dict(own=1))\n")
    return path


def test_config_of_mmaction_is_inherited(tmp_path):
    compat.prepare_stack()
    cfg = Config.fromfile(child_config(tmp_path))
    assert cfg.model.type == 'Recognizer2D' and cfg.model.cls_head.own == 1


def test_a_config_with_a_wrong_path_in_the_index_is_inherited(tmp_path):
    """mmaction2 1.2.0 lists this one without its suffix."""
    compat.prepare_stack()
    name = 'recognition/c2d/c2d_r50-in1k-pre_8xb32-16x4x1-100e_kinetics400-rgb.py'
    (tmp_path / 'child.py').write_text(f"_base_ = 'mmaction::{name}'\n")
    assert Config.fromfile(tmp_path / 'child.py').model.backbone.type == 'C2D'


def test_index_with_lists_of_configs_is_passed_by(tmp_path, monkeypatch):
    def look_up(package_path: str, cfg_path: str) -> dict:
        return [cfg_path].partition('/')  # what mmengine does with 1.1.0

    monkeypatch.setattr(config_utils, '_get_cfg_metainfo', look_up)
    with pytest.raises(AttributeError, match='partition'):
        Config.fromfile(child_config(tmp_path))
    compat.repair_config_inheritance()
    cured = config_utils._get_cfg_metainfo
    compat.repair_config_inheritance()
    assert config_utils._get_cfg_metainfo is cured  # wrapped once
    assert Config.fromfile(child_config(tmp_path)).model.type == 'Recognizer2D'


# ---------------------------------------------------------------- formatting
def test_the_same_config_is_formatted_once(monkeypatch):
    calls = []

    def format_code(text, **options):
        calls.append(text)
        return FormatCode(text, **options)

    monkeypatch.setattr(config_module, 'FormatCode', format_code)
    compat.format_configs_once()
    compat.format_configs_once()  # wrapped once
    first, second = (Config(dict(model=dict(type=name))) for name in ('A', 'B'))
    texts = [cfg.pretty_text for cfg in (first, first, second, first)]
    assert texts[0] == texts[1] == texts[3] == "model = dict(type='A')\n"
    assert texts[2] == "model = dict(type='B')\n" and len(calls) == 3


# ---------------------------------------------------------------- collate
def test_collate_functions_lose_the_mark_of_their_package():
    collate = dict(type='repeat_pseudo_collate', _scope_='mmaction')
    cfg = Config(dict(train_dataloader=dict(batch_size=2, collate_fn=collate),
                      val_dataloader=dict(batch_size=2), test_dataloader=None))
    compat.use_plain_collate(cfg)
    assert cfg.train_dataloader.collate_fn == dict(type='repeat_pseudo_collate')


# ---------------------------------------------------------------- others' programs
RUNNER = '''
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

class Model(BaseModel):
    def forward(self, inputs, mode):
        return [dict(found=1)]

loader = dict(batch_size=1, dataset=[0], sampler=dict(type='DefaultSampler', shuffle=False),
              collate_fn=dict(type='pseudo_collate', _scope_='mmaction'))
runner = Runner(Model(), 'runs', test_dataloader=loader, test_cfg=dict(),
                test_evaluator=dict(type='DumpResults', out_file_path='found.pkl'))
runner.test()
'''


@pytest.mark.parametrize('first, second', [
    ('import mmengine.runner', 'import sbp_tad'),
    pytest.param('import sbp_tad', 'import mmengine.runner', marks=pytest.mark.nightly)])
def test_a_runner_of_another_program_prepares_the_stack(first, second, tmp_path):
    """In either order of imports, as mmaction2's own tools and ``custom_imports`` have them."""
    program = f'{first}\n{second}\nimport sys; assert "mmaction" not in sys.modules\n' + RUNNER \
        + 'from mmaction.evaluation.functional import accuracy\n' \
          'print(accuracy.np.trapz([1.0, 3.0], [0.0, 1.0]))'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == '2.0' and (tmp_path / 'found.pkl').is_file()


# ---------------------------------------------------------------- torchvision
def test_names_of_torchvision_weights_need_no_torchvision(absent):
    absent('torchvision')
    compat.prepare_stack()
    from mmengine.runner import checkpoint

    addresses = checkpoint.get_torchvision_models()
    assert addresses['resnet50'] == 'https://download.pytorch.org/models/resnet50-0676ba61.pth'

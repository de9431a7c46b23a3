"""Misspelt top-level fields and modules that are not found, each told in a sentence."""
import sys
import warnings

import pytest
from mmengine.config import Config

from sbp_tad.apis import launch
from sbp_tad.apis.config.fields import warn_of_misspelt_fields
from sbp_tad.apis.config.options import parse_pairs
from sbp_tad.apis.config.values import top_keys
from sbp_tad.errors import ConfigError

TEXT = "model = dict(type='X')\noptim_wrapper = dict(type='OptimWrapper')\nmy_rate = 0.1\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'mine.py').write_text(TEXT)
    return str(tmp_path / 'mine.py')


@pytest.mark.parametrize('option, nearest', [
    ('optim_wraper.optimizer.lr', 'optim_wrapper'), ('val_evaluater.tiou', 'val_evaluator')])
def test_an_option_of_an_unknown_field_is_refused(path, option, nearest):
    with pytest.raises(ConfigError, match=f"--cfg-options {option}: .*Did you mean '{nearest}'"):
        launch.load_config(path, {option: 1})


@pytest.mark.parametrize('option', ['load_from', 'train_cfg.max_epochs', 'compile',
                                    'find_unused_parameters', 'auto_scale_lr.enable'])
def test_an_option_may_set_a_field_that_the_config_leaves_out(path, option):
    assert launch.load_config(path, {option: 1})[option.partition('.')[0]]


@pytest.mark.parametrize('name, field', [
    ('optim_wraper', 'optim_wrapper'), ('train_dataloder', 'train_dataloader'),
    ('optimwrapper', 'optim_wrapper'), ('val_evaluater', 'val_evaluator')])
def test_a_variable_that_is_almost_a_field_gives_a_warning(path, name, field):
    with open(path, 'a') as file:
        file.write(f'{name} = dict()\n')
    with pytest.warns(UserWarning, match=f'mine.py: nothing reads the variable {name}. If the '
                                         f'field {field} is meant'):
        launch.load_config(path)


def test_own_variables_and_known_fields_give_none():
    names = ['train_pipeline', 'test_pipeline', 'dataset_type', 'data_root', 'ann_file_train',
             'file_client_args', 'num_classes', 'base_lr', 'max_epochs', 'r3d10', 'toy']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warn_of_misspelt_fields(Config(dict.fromkeys([*names, *top_keys()], 1)))


def test_custom_imports_of_an_option_take_effect(path, tmp_path, monkeypatch):
    (tmp_path / 'module_of_an_option.py').write_text('done = True\n')
    monkeypatch.syspath_prepend(tmp_path)
    launch.load_config(path, {'custom_imports.imports': ['module_of_an_option']})
    assert sys.modules.pop('module_of_an_option').done


@pytest.mark.parametrize('imports', [['my_hed'], 'my_hed'])
def test_a_module_that_is_not_found_is_a_sentence(path, imports):
    message = "cannot be imported: No module named 'my_hed'. .*PYTHONPATH"
    with pytest.raises(ConfigError, match=message):
        launch.load_config(path, {'custom_imports.imports': imports})
    with open(path, 'a') as file:
        file.write(f'custom_imports = dict(imports={imports!r})\n')
    with pytest.raises(ConfigError, match=message):
        launch.load_config(path)


def test_a_mark_with_nothing_to_delete_is_dropped(tmp_path):
    """mmengine leaves ``_delete_`` in a dict that no base has."""
    (tmp_path / 'base.py').write_text("model = dict(type='M', old=1)\n"
                                      "train_dataloader = dict(dataset=dict(type='D'))\n")
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'base.py'\nmodel = dict(_delete_=True, type='N')\n"
                    "train_dataloader = dict(dataset=dict(data_prefix=dict(\n"
                    "    _delete_=True, frames='fr')))\n")
    cfg = launch.load_config(str(path), parse_pairs(
        ['train_dataloader.dataset.source=dict(_delete_=True, fps=3)']))
    assert cfg.model == dict(type='N')
    assert cfg.train_dataloader.dataset == dict(
        type='D', data_prefix=dict(frames='fr'), source=dict(fps=3))

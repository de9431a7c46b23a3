"""Every config of the installed mmaction2 is built or refused with a sentence; families train."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from families import rest_nightly
from mmaction_cases import (
    REFUSED,
    TASKS,
    UNTRAINABLE,
    all_configs,
    expected_refusal,
    families,
    load_small,
    write_config,
    write_features,
    write_poses,
    write_sounds,
)
from mmengine.registry import DefaultScope
from recognition_cases import write_clips

from sbp_tad.apis import launch
from sbp_tad.apis.config.refusals import check_backends, check_phases
from sbp_tad.datasets.transforms import build_pipeline
from sbp_tad.errors import UserError
from sbp_tad.planning.fake_tensors import build_shapes
from sbp_tad.registry import DATASETS, METRICS, MODELS, OPTIMIZERS

FAMILIES = families()
RUNNING = [name for name in FAMILIES.values()
           if name.split('/')[0] in TASKS and not expected_refusal(name, REFUSED)]
# Trained with every change; the other families in the nightly.
TRAINED = [FAMILIES[name] for name in (
    'localization/bmn', 'localization/bsn bsn_pem', 'skeleton/stgcnpp', 'recognition/tsn')]
SBP = ' with SBP'
# The parts of a model that load weights when it is built; nothing is downloaded here.
WEIGHTS = ('pretrained', 'pretrain_2d')

pytestmark = pytest.mark.filterwarnings('default')  # those of mmaction end no run


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Clips, features, key points and sounds."""
    folder = tmp_path_factory.mktemp('data')
    (folder / 'clips').mkdir()
    write_clips(folder / 'clips')
    write_features(folder)
    write_poses(folder)
    write_poses(folder, joints=25, axes=3)
    write_sounds(folder)
    return folder


def with_sbp(names):
    """Each name, and again with the README's lines where it has a backbone of RGB."""
    return [case for name in names for case in
            ([name, name + SBP] if name.startswith('recognition/') else [name])]


def without_weights(model):
    """A model's config without the weights that it would download when it is built."""
    if isinstance(model, (list, tuple)):
        return type(model)(without_weights(part) for part in model)
    if not isinstance(model, dict):
        return model
    return type(model)({key: None if key in WEIGHTS else
                        False if key in ('clip_pretrained', 'pretrained2d') else
                        without_weights(part) for key, part in model.items()})


def build_everything(path):
    """Build the model without memory, and all that a run would build of the other parts."""
    cfg = launch.load_config(str(path))
    with launch.config_faults(cfg), DefaultScope.overwrite_default_scope(cfg.default_scope):
        def build():
            return MODELS.build(without_weights(cfg.model))

        # TANet reads the numbers of its weights when it is built.
        model = build() if 'TANet' in str(cfg.model.get('backbone')) else build_shapes(build)
        for phase in ('train', 'val', 'test'):
            dataset = (cfg.get(f'{phase}_dataloader') or {}).get('dataset') or {}
            while 'dataset' in dataset:
                dataset = dataset.dataset
            for part in dataset.get('datasets', [dataset] if dataset else []):
                assert DATASETS.get(part.type) is not None
                build_pipeline([step for step in part.pipeline
                                if step.type != 'PytorchVideoWrapper'])
            metrics = cfg.get(f'{phase}_evaluator') or []
            for metric in metrics if isinstance(metrics, list) else [metrics]:
                METRICS.build(metric)
        if cfg.get('optim_wrapper'):
            assert OPTIMIZERS.get(cfg.optim_wrapper.optimizer.type) is not None
    return model


@pytest.mark.parametrize('case', rest_nightly(with_sbp(all_configs()),
                                              [with_sbp([name])[-1] for name in FAMILIES.values()]))
def test_config_is_built_or_refused_with_a_sentence(case, tmp_path, uninitialized):
    name = case.removesuffix(SBP)
    if sentence := expected_refusal(name, REFUSED):
        with pytest.raises(UserError) as caught:
            path = write_config(name, tmp_path, case.endswith(SBP))
            cfg = launch.load_config(str(path))
            check_phases(cfg, 'test')
            check_backends(cfg)
            build_everything(path)
        assert re.search(sentence, str(caught.value)), caught.value
        return
    model = build_everything(write_config(name, tmp_path, case.endswith(SBP)))
    assert sum(parameter.numel() for parameter in model.parameters()) > 1000


@pytest.mark.parametrize('case', rest_nightly(with_sbp(RUNNING), [
    TRAINED[0], TRAINED[1], TRAINED[2], TRAINED[3] + SBP]))
def test_family_trains_two_iterations_and_is_validated(case, data, tmp_path):
    name = case.removesuffix(SBP)
    cfg = load_small(write_config(name, tmp_path, case.endswith(SBP)), name, data, tmp_path / 'run')
    launch.set_randomness(cfg, 0)
    launch.check_run(cfg, 'train')
    if sentence := expected_refusal(name, UNTRAINABLE):
        with pytest.raises(UserError, match=sentence), launch.config_faults(cfg):
            launch.build_runner(cfg).train()
        return
    runner = launch.build_runner(cfg)
    before = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    changed = [key for key, value in runner.model.named_parameters()
               if key in before and not before[key].equal(value)]
    assert len(changed) > 1
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 2 and torch.tensor(losses).isfinite().all()
    check_numbers(runner, name)


def check_numbers(runner, name):
    """The metrics of the family are there, and possible."""
    found = {key.removeprefix('val/'): value.data[0].tolist()
             for key, value in runner.message_hub.log_scalars.items() if key.startswith('val/')}
    if 'bsn_tem' in name:  # writes what it finds, and scores nothing
        assert len(list(Path(runner.work_dir, 'results').glob('*.csv'))) == 2
        return
    expected = {'auc', 'AR@1', 'AR@5', 'AR@10', 'AR@100'} if name.startswith('localization/') \
        else {'acc/top1', 'acc/top5', 'acc/mean1'}
    if 'rgbpose_conv3d.py' in name:
        expected = {f'acc/{part}_top1' for part in ('rgb', 'pose')}
    assert expected <= found.keys()
    for key in expected:
        value, = found[key]
        assert 0 <= value <= (100 if key == 'auc' else 1), key

"""Plan of every config that trains on video, against a training step of it, made small."""
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope

from sbp_tad.apis.launch import load_config
from sbp_tad.apis.memory_planning import item_shape, plan_memory, video_model_of, weight_copies
from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.strategies import STRATEGIES
from sbp_tad.models.backbones.strategies.modes import FIXED_MODES, PLANNED_MODES
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.head_cost import one_action, one_online_window
from sbp_tad.planning.report import plan_to_json, print_plan
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[2]
SIDE, BATCH = 64, 2
CELLS = 4 * 4  # of a frame of that side in FrameCNN
# Convolutions in two and three dimensions, tokens, and every kind of head; the others take minutes.
FAMILIES = ('actionformer_r3d10_sbp-r4_toy', 'actionformer_vit4_token-r4_toy',
            'segmentation_r3d10_sbp-r4_toy', 'recognizer_r3d10_toy',
            'online_gru_cnn4_sbp-r4_toy', 'daotad_r3d10_sbp-r4_toy')


def video_configs() -> list[str]:
    """Those that decode frames."""
    paths = sorted((ROOT / 'configs').glob('[!_]*/*.py'))
    return [str(path.relative_to(ROOT)) for path in paths
            if 'features' not in path.stem and 'imagenet' not in path.stem]


CASES = [pytest.param(path, id=Path(path).stem,
                      marks=() if Path(path).stem in FAMILIES else pytest.mark.nightly)
         for path in video_configs()]


def shrink(cfg: Config) -> Config:
    """Frames of ``SIDE``, four clips (a recognizer: eight frames), two windows, no checkpoint."""
    loader = cfg.train_dataloader
    pipeline = loader.dataset.pipeline
    kept = [step for step in pipeline if step['type'].endswith(('Decode', 'SampleFrames'))]
    for step in kept:
        if 'clip_len' in step:
            step['clip_len'] = min(8, step['clip_len'])
    shape = next(step for step in pipeline if step['type'] == 'FormatShape')
    loader.dataset.pipeline = [*kept, dict(type='Resize', scale=(SIDE, SIDE), keep_ratio=False),
                               shape, pipeline[-1]]
    loader.batch_size = BATCH
    backbone = cfg.model.backbone
    if backbone.get('clip_len', 0) > 16:
        backbone.clip_len = 16
    if backbone.get('clip_len') and cfg.model.type == 'TemporalDetector':
        loader.dataset.num_frames = max(4 * backbone.clip_len, 16)
    if cfg.model.get('num_steps'):
        cfg.model.num_steps = loader.dataset.num_frames
    network = backbone.get('backbone', backbone)  # with and without SBP
    if 'pretrained' in network:
        network.pretrained = None
    if network.get('keep_places'):  # the head's channels follow from the frames
        cfg.model.head.in_channels = network.channels * CELLS
    return cfg


def measured_bytes(cfg: Config) -> int:
    """Saved for backward in a training step of the real model."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).train()
    amp = 'Amp' in cfg.optim_wrapper.type
    dataset = cfg.train_dataloader.dataset
    with meter_saved_memory(model) as meter, torch.autocast('cpu', torch.bfloat16, enabled=amp):
        if cfg.model.type == 'TemporalDetector':
            inputs = torch.randn(BATCH, 3, dataset.num_frames, SIDE, SIDE)
            losses = model.loss(inputs, [one_action(dataset.num_frames)] * BATCH)
        elif cfg.model.type == 'OnlineActionDetector':
            head = cfg.model.head
            sample = one_online_window(head.memory_frames, head.num_frames, head.num_classes)
            frames = head.memory_frames + head.num_frames
            losses = model.loss(torch.randn(BATCH, 3, frames, SIDE, SIDE), [sample] * BATCH)
        else:
            shape, clips, _ = item_shape(dataset.pipeline, (SIDE, SIDE))
            samples = [ActionDataSample().set_gt_label(0) for _ in range(BATCH)]
            losses = model.loss(torch.randn(BATCH, clips, *shape), samples)
        model.parse_losses(losses)[0].backward()
    return meter.bytes


@pytest.mark.parametrize('path', CASES)
def test_prediction_is_what_a_step_saves(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = shrink(load_config(path))
    video_model, setting = video_model_of(cfg)
    predicted = video_model.predict(setting)
    measured = measured_bytes(cfg)
    assert predicted.saved == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize('options, rows', [
    (dict(mode='full'), {'full', 'direct', 'deferred'}),
    (dict(mode='frozen'), {'frozen'}),
    (dict(mode='frozen', options=dict(blocks=['conv1', 'layer1'])), {'frozen'})])
def test_full_and_frozen_backbones_are_predicted(options, rows):
    cfg = toy()
    cfg.model.backbone.update(options)
    plan = plan_memory(cfg, 2 ** 30)
    assert {setting.mode for setting, _ in plan.table} == rows
    assert [setting.keep_ratio for setting, _ in plan.table if setting.mode in FIXED_MODES] == [1]
    setting, memory = plan.table[0]
    assert setting == plan.current and plan.proposals['as configured'] == plan.table[0]
    assert not any(options['mode'] in name for name in plan.proposals)  # has no largest keep ratio
    # the head's losses depend on the drawn features, by some bytes; the backbone's are exact
    assert memory.saved == pytest.approx(measured_bytes(cfg), abs=256)
    some_frozen = memory.gradients < 0.99 * memory.parameters  # buffers have no gradient either
    assert some_frozen is (options['mode'] == 'frozen')


@pytest.mark.parametrize('mode', sorted(set(STRATEGIES) - set(PLANNED_MODES)))
def test_modes_that_are_not_predicted_are_refused(mode):
    cfg = toy()
    cfg.model.backbone.mode = mode
    with pytest.raises(PlanningError, match=f"has mode '{mode}'; measure a training step"):
        plan_memory(cfg, 2 ** 30)


def test_every_config_with_frames_is_in_the_table():
    names = {Path(path).stem for path in video_configs()}
    assert names >= set(FAMILIES) and len(names) > 20
    assert {'actionformer_videomae-s_sbp-r4_768x4_thumos14', 'daotad_swin-t_sbp-r0.4_480x15fps_'
            'thumos14', 'swin-t_sbp-r4_32x2-30e_kinetics400'} <= names


def toy(**options) -> Config:
    """The smallest config."""
    cfg = shrink(load_config(str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')))
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture(scope='module')
def plan():
    return plan_memory(toy(), 64 * 2 ** 20)


def test_plan_has_every_form_and_ratio(plan):
    rows = {(setting.mode, setting.keep_ratio): memory for setting, memory in plan.table}
    assert set(rows) == {(mode, ratio) for mode in ('direct', 'deferred')
                         for ratio in (1.0, 0.5, 0.25, 0.125)}
    saved = [rows['direct', ratio].saved for ratio in (1.0, 0.5, 0.25)]
    assert saved == sorted(saved, reverse=True)
    memory = rows['direct', 0.25]
    assert memory.optimizer == 2 * memory.gradients > 0  # AdamW
    assert memory.total == sum((memory.parameters, memory.gradients, memory.optimizer,
                                memory.saved, memory.transients))


@pytest.mark.parametrize('mode', ['direct', 'deferred'])
@pytest.mark.parametrize('ratio', [1.0, 0.5])
def test_other_forms_and_ratios_are_what_a_step_saves(plan, mode, ratio):
    memory = {(setting.mode, setting.keep_ratio): memory for setting, memory in plan.table}
    cfg = toy(**{'model.backbone.mode': mode, 'model.backbone.keep_ratio': ratio})
    assert memory[mode, ratio].saved == pytest.approx(measured_bytes(cfg), rel=0.1)


def test_mixed_precision_saves_less():
    full, mixed = (plan_memory(toy(), 2 ** 30, amp) for amp in (False, True))
    cfg = toy(**{'optim_wrapper.type': 'sbp_tad.CpuAmpOptimWrapper'})
    saved = {amp: plan.proposals['as configured'][1].saved
             for amp, plan in ((False, full), (True, mixed))}
    assert saved[True] < saved[False]
    assert saved[True] == pytest.approx(measured_bytes(cfg), rel=0.1)
    assert plan_memory(cfg, 2 ** 30) == mixed  # as the config says


def test_report_and_json(plan, tmp_path):
    with (tmp_path / 'plan.txt').open('w') as file:
        print_plan(plan, file)
    text = (tmp_path / 'plan.txt').read_text()
    for part in ('Training memory: batch 2, 32 frames', 'keep ratio', 'fits 64.0 MiB',
                 'largest keep ratio, deferred', 'longest window'):
        assert part in text
    content = json.loads(json.dumps(plan_to_json(plan)))
    assert content['configured']['keep_ratio'] == 0.25 and len(content['table']) == 8
    assert all(row['fits'] == (row['total'] <= 64 * 2 ** 20) for row in content['table'])
    assert all(row['fits'] for row in content['proposals'].values())


@pytest.mark.parametrize('optimizer, hooks, expected', [
    (dict(type='AdamW', lr=1e-3), [], (2, 0)),
    (dict(type='SGD', lr=0.1), [], (0, 0)),
    (dict(type='SGD', lr=0.1, momentum=0.9), [dict(type='EMAHook')], (1, 1))])
def test_copies_of_the_weights(optimizer, hooks, expected):
    cfg = Config(dict(optim_wrapper=dict(optimizer=optimizer), custom_hooks=hooks))
    copies = weight_copies(cfg)
    assert (copies.states, copies.averages) == expected


def test_item_of_a_recognizer():
    steps = [dict(type='SampleFrames', clip_len=1, num_clips=8), dict(type='FormatShape')]
    steps[1]['input_format'] = 'NCHW'
    assert item_shape(steps, (4, 6)) == ((3, 4, 6), 8, 8)
    steps = [dict(type='SampleFrames', clip_len=16, num_clips=2),
             dict(type='FormatShape', input_format='NCTHW')]
    shape, clips, frames = item_shape(steps, (4, 6))
    assert (math.prod(shape), clips, frames) == (3 * 16 * 24, 2, 32)


@pytest.mark.parametrize('change, message', [
    ({'model.backbone': None}, 'the model has no backbone: it trains on features'),
    ({'train_dataloader.dataset.pipeline': [dict(type='PackTADInputs')]},
     'the frame size follows from the transforms'),
    ({'model.backbone.backbone.type': 'NoNetwork'}, 'names an unknown component')])
def test_what_cannot_be_planned_is_said(change, message):
    with pytest.raises(ConfigError, match=message):
        plan_memory(toy(**change), 2 ** 30)


def test_a_recognizer_without_frames_is_said():
    with pytest.raises(ConfigError, match='SampleFrames.* sets the frames of a clip'):
        item_shape([dict(type='FormatShape', input_format='NCTHW')], (4, 4))

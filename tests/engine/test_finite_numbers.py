"""NaN and infinity in training: said with all it takes to repeat them, before weights change."""
import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from processes import run_processes
from torch import nn

from sbp_tad.engine.errors import HookError, TrainingError
from sbp_tad.engine.finite_numbers import FiniteNumbersHook, sample_names
from sbp_tad.registry import HOOKS
from sbp_tad.structures import TADDataSample, Window


class Model(BaseModel):
    """The loss of an item is its number times the weights; ``sqrt`` has no finite slope at 0."""

    def __init__(self, normalize=False):
        super().__init__()
        self.linear = nn.Linear(2, 1, bias=False)
        nn.init.ones_(self.linear.weight)
        self.norm = nn.BatchNorm1d(2) if normalize else nn.Identity()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = self.norm(torch.stack(inputs).float())
        outputs = self.linear(inputs).square()
        return dict(loss_a=outputs.mean(), loss_b=[
            (outputs - outputs.detach()).sqrt().sum() if inputs[0, 0] == 7 else outputs.mean()])


class Items(torch.utils.data.Dataset):
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        window = Window(f'video_{index}', 5.0 * index, 4, 1, 10, 4)
        sample = TADDataSample(metainfo=dict(window=window, video_id=window.video_id))
        return dict(inputs=torch.tensor([self.values[index], 1.0]), data_samples=sample)


def make_runner(values, folder, normalize=False, wrapper=None, **options):
    loader = dict(dataset=Items(values), batch_size=1, collate_fn=dict(type='pseudo_collate'),
                  sampler=dict(type='DefaultSampler', shuffle=False))
    wrapper = dict(optimizer=dict(type='SGD', lr=0.01, weight_decay=0.1), **(wrapper or {}))
    return Runner(
        Model(normalize), str(folder), train_dataloader=loader, optim_wrapper=wrapper,
        train_cfg=dict(by_epoch=True, max_epochs=1), randomness=dict(seed=11), log_level='ERROR',
        default_hooks=dict(checkpoint=None, logger=None),
        experiment_name=str(folder).replace('/', '_'),
        custom_hooks=[FiniteNumbersHook(**options)])


class Spy(Hook):
    """Keeps the weights after each iteration."""

    def __init__(self, runner):
        self.weights = []
        runner.register_hook(self)

    def after_train_iter(self, runner, *_, **__):
        self.weights.append(runner.model.linear.weight.clone())


def test_a_nan_stops_before_the_weights_change(tmp_path):
    runner = make_runner([1, 2, math.nan, 4], tmp_path)
    seen = Spy(runner)
    with pytest.raises(TrainingError, match=r'Iteration 3 \(epoch 1\): loss_a is nan, loss_b is '
                       r'nan in iteration 3. Samples: video_2 from 1.00 s. Seed 11.\n.*--seed .*'
                       'finite_numbers.action=skip'):
        runner.train()
    assert len(seen.weights) == 2 and torch.equal(runner.model.linear.weight, seen.weights[-1])


def test_a_gradient_is_named_where_the_loss_is_finite(tmp_path):
    with pytest.raises(TrainingError, match='Iteration 2 .*: the gradient of linear.weight is not '
                       'finite. Samples: video_1 from 0.50 s'):
        make_runner([1, 7, 3], tmp_path).train()


class TwoLayers(BaseModel):
    """The second layer alone has a gradient that is not finite, where the input begins with 7."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(inputs).float()
        found = self.first(inputs).sum()
        bad = self.second(inputs).sum()
        return dict(loss_a=found, loss_b=(bad - bad.detach()).sqrt() if inputs[0, 0] == 7 else bad)


@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0), dict(max_norm=1.0, norm_type='inf'),
                                  dict(type='value', clip_value=1.0)])
def test_clipped_gradients_blame_the_right_layer(tmp_path, clip):
    """Clipping by the norm turns all gradients into NaN if one is not finite."""
    runner = make_runner([1, 7, 3], tmp_path, wrapper=dict(clip_grad=clip))
    runner.model = TwoLayers()
    if clip is not None and clip.get('type') == 'value':
        runner.train()  # an infinite gradient is clipped to a finite one
        return
    with pytest.raises(TrainingError, match='Iteration 2 .*: the gradient of second.weight, '
                       'second.bias is not finite'):
        runner.train()


def test_skipping_with_clipped_gradients_leaves_the_update_out(tmp_path):
    clip = dict(wrapper=dict(clip_grad=dict(max_norm=1.0)))
    clean = make_runner([1, 2, 4], tmp_path / 'clean', **clip)
    clean.train()
    runner = make_runner([1, 2, 7, 4], tmp_path / 'skip', action='skip', **clip)
    runner.train()
    assert torch.equal(runner.model.linear.weight, clean.model.linear.weight)
    assert '_clip_grad' not in vars(runner.optim_wrapper)  # the hook is gone after training


def test_skipping_leaves_the_update_out_and_nothing_else(tmp_path):
    clean = make_runner([1, 2, 4], tmp_path / 'clean')
    clean.train()
    runner = make_runner([1, 2, math.inf, 4], tmp_path / 'skip', action='skip')
    runner.train()
    assert torch.equal(runner.model.linear.weight, clean.model.linear.weight)
    assert runner.message_hub.get_scalar('train/skipped_updates').current() == 1


def test_it_ends_if_every_update_is_like_that(tmp_path):
    runner = make_runner([math.nan] * 5, tmp_path, action='skip', max_in_a_row=2)
    with pytest.raises(TrainingError, match='Iteration 3 .*\n3 successive updates were skipped'):
        runner.train()


def test_accumulated_iterations_go_together_and_the_right_one_is_named(tmp_path):
    accumulate = dict(wrapper=dict(accumulative_counts=2))
    with pytest.raises(TrainingError, match=r'Iteration 4 .* in iteration 3. Samples: video_2 f'):
        make_runner([1, 2, math.nan, 4, 5, 6], tmp_path / 'stop', **accumulate).train()
    clean = make_runner([1, 2, 5, 6], tmp_path / 'clean', **accumulate)
    clean.train()
    runner = make_runner([1, 2, math.nan, 4, 5, 6], tmp_path / 'skip', action='skip', **accumulate)
    runner.train()
    assert torch.equal(runner.model.linear.weight, clean.model.linear.weight)


def test_statistics_that_are_spoilt_cannot_be_skipped(tmp_path):
    runner = make_runner([1, math.nan], tmp_path, normalize=True, action='skip')
    for name, value in (('train_dataloader', dict(runner._train_dataloader, batch_size=2)), ):
        setattr(runner, f'_{name}', value)
    with pytest.raises(TrainingError, match='norm.running_mean, norm.running_var NaN. Resume'):
        runner.train()


class Scaler:
    """A stand-in for the optimizer wrapper of mixed precision: some updates never happen."""

    def __init__(self, wrapper, overflows):
        step = wrapper.step
        self.count = 0

        def maybe_step(**kwargs):
            self.count += 1
            if self.count not in overflows:
                step(**kwargs)
        wrapper.step = maybe_step


@pytest.mark.parametrize('values, overflows, message', [
    ([1, 2, 3], {1, 2}, None),
    ([1, 2, 3, 4], {1, 2, 3}, 'Iteration 3 .*: gradients overflowed. .*\n.* overflowed in 3 succ'),
    ([1, math.nan], {2}, 'Iteration 2 .*: loss_a is nan')])
def test_an_overflow_under_loss_scaling_is_the_scalers_business(tmp_path, values, overflows,
                                                                message):
    runner = make_runner(values, tmp_path, max_in_a_row=2)
    build = runner.build_optim_wrapper

    def build_scaled(config):
        wrapper = build(config)
        Scaler(wrapper, overflows)
        return wrapper
    runner.build_optim_wrapper = build_scaled
    if message is None:
        runner.train()
    else:
        with pytest.raises(TrainingError, match=message):
            runner.train()


def test_a_sound_run_is_the_same_with_the_hook(tmp_path):
    with_hook, without = (make_runner([1, 2, 3], tmp_path / name) for name in ('with', 'without'))
    without._hooks = [hook for hook in without._hooks if not isinstance(hook, FiniteNumbersHook)]
    with_hook.train()
    without.train()
    assert torch.equal(with_hook.model.linear.weight, without.model.linear.weight)
    assert not with_hook.model._forward_hooks


@pytest.mark.parametrize('options', [dict(action='ignore'), dict(max_in_a_row=-1)])
def test_options(options):
    with pytest.raises(HookError, match=r"one of \('stop', 'skip'\) and max_in_a_r"):
        HOOKS.build(dict(type='FiniteNumbersHook', **options))


def test_samples_of_other_kinds_have_names():
    sample = TADDataSample(metainfo=dict(filename='a/b.mp4'))
    assert sample_names(dict(data_samples=[sample, None, TADDataSample()])) == [
        'a/b.mp4', 'a sample without a name']
    assert sample_names(None) == sample_names(dict(inputs=1)) == []


def train_in_two(rank, folder, action):
    """Six items, the fourth of which is bad and comes to process 1."""
    runner = make_runner([1, 2, 3, math.nan, 5, 6], folder / f'{rank}_{action}', action=action)
    runner.model = MMDistributedDataParallel(runner.model, device_ids=None)
    text = 'no error'
    try:
        runner.train()
    except TrainingError as error:
        text = str(error)
    return text, runner.model.module.linear.weight.detach()


def work(rank, folder):
    return {action: train_in_two(rank, folder, action) for action in ('stop', 'skip')}


@pytest.mark.slow
def test_processes_decide_alike(tmp_path):
    first, second = run_processes(work, tmp_path)
    for action, (text, weight) in first.items():
        assert text == second[action][0] and torch.equal(weight, second[action][1])
        assert weight.isfinite().all() and not torch.equal(weight, torch.ones(1, 2))
    assert first['skip'][0] == 'no error'
    assert 'loss_a is nan' in first['stop'][0] and 'video_3 from 1.50 s' in first['stop'][0]

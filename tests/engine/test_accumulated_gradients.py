"""Gradients of an update that a kill has prevented go on in the resumed run, or are missed."""
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.engine import ExactResumeHook, accumulated_gradients
from sbp_tad.engine.accumulated_gradients import GRADIENTS, add_gradients, restore_gradients


def make_run(several_optimizers=False):
    """A run that updates every second iteration."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2)
    if several_optimizers:
        wrapper = OptimWrapperDict(only=wrapper)
    return SimpleNamespace(model=model, optim_wrapper=wrapper, _resume=True,
                           logger=MMLogger('accumulated', log_level='ERROR'))


def step(run):
    wrapper = run.optim_wrapper
    wrapper = wrapper['only'] if isinstance(wrapper, OptimWrapperDict) else wrapper
    wrapper.update_params(run.model(torch.ones(1, 2)).square().sum())


@pytest.mark.parametrize('several_optimizers', [False, True])
def test_a_resumed_update_is_made_of_all_its_iterations(several_optimizers):
    run, resumed, checkpoint = make_run(several_optimizers), make_run(), {}
    step(run)
    add_gradients(run, checkpoint)
    hook = ExactResumeHook()
    hook.after_load_checkpoint(resumed, deepcopy(checkpoint))  # as a file would
    restore_gradients(resumed, hook._resumed)
    resumed.optim_wrapper._inner_count = 1  # as mmengine sets it, from the iteration
    step(run)
    step(resumed)
    assert torch.equal(run.model.weight, resumed.model.weight)
    add_gradients(run, found := {})
    assert found == {}  # nothing waits after the update


def test_weights_that_are_only_loaded_bring_no_gradients():
    run, checkpoint = make_run(), {}
    step(run)
    add_gradients(run, checkpoint)
    fresh, hook = make_run(), ExactResumeHook()
    fresh._resume = False
    hook.after_load_checkpoint(fresh, checkpoint)
    restore_gradients(fresh, hook._resumed)
    assert fresh.model.weight.grad is None


def test_those_of_several_processes_are_not_in_the_checkpoint_and_missed(monkeypatch):
    run, checkpoint = make_run(), {}
    step(run)
    monkeypatch.setattr(accumulated_gradients, 'get_world_size', lambda: 2)
    add_gradients(run, checkpoint)
    assert checkpoint == {GRADIENTS: None}
    with pytest.raises(ResumeError, match='does not hold the gradients of its processes. Resume'):
        restore_gradients(make_run(), checkpoint)


def test_gradients_of_parameters_under_other_names_are_refused():
    run, checkpoint = make_run(), {}
    step(run)
    add_gradients(run, checkpoint)
    checkpoint[GRADIENTS]['backbone.weight'] = checkpoint[GRADIENTS].pop('weight')
    with pytest.raises(ResumeError, match='1 parameters that the .* first is backbone.weight'):
        restore_gradients(make_run(), checkpoint)


def test_a_loop_that_reads_in_its_own_way_is_refused():
    run = SimpleNamespace(train_loop=SimpleNamespace())
    with pytest.raises(ResumeError, match='SimpleNamespace is not one of the loops that can be'):
        ExactResumeHook().before_train(run)

"""Settings in which every case of token-level SBP must work."""
import copy
import functools

import pytest
import torch
from processes import run_processes
from token_cases import assert_same, gradients, loss_of
from torch import nn
from torch.utils.checkpoint import checkpoint

from sbp_tad.sbp import TokenSBPConfig, apply_sbp
from sbp_tad.sbp.modules import TokenSBP


def turn_off_dropout(model):
    """Other random numbers for another batch size would hide what is compared."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        elif hasattr(module, 'drop_prob'):
            module.drop_prob = 0.0


def checkpoint_blocks(model):
    """Let every block of SBP compute its forward again in the backward pass."""
    for block in [module for module in model.modules() if isinstance(module, TokenSBP)]:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def check_checkpointing(case):
    """Around every block, and around the whole model: the same tokens, the same gradients."""
    model, x = case.make()
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    blocks, whole = copy.deepcopy(model), copy.deepcopy(model)
    checkpoint_blocks(blocks)
    whole.forward = functools.partial(checkpoint, whole.forward, use_reentrant=False)
    for _ in range(2):
        expected = gradients(model, x)
        for repeated in (blocks, whole):
            assert_same(gradients(repeated, x), expected, rtol=1e-9, atol=1e-12)


def check_grad_scaler(case):
    """float16 autocast and a gradient scaler: a step that is taken, near the exact gradient."""
    if not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('this torch has no GradScaler for the CPU')
    model, x = case.make(torch.float32)
    turn_off_dropout(model)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    expected = gradients(copy.deepcopy(model), x)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler('cpu', init_scale=256.0)
    with torch.autocast('cpu', torch.float16):
        loss = loss_of(model(x))
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    names, found = zip(*((n, p.grad) for n, p in model.named_parameters() if p.grad is not None))
    found, exact = (torch.cat([g.flatten() for g in some])
                    for some in (found, [expected[name] for name in names]))
    assert (found - exact).norm() < 0.1 * exact.norm()
    before = copy.deepcopy(model.state_dict())
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 256.0
    assert any(not torch.equal(before[n], p) for n, p in model.named_parameters())


def check_compile(case):
    """The graph breaks where tokens are drawn, so that every step draws its own."""
    model, x = case.make()
    turn_off_dropout(model)
    state = apply_sbp(model, TokenSBPConfig(keep_ratio=0.3)).state
    expected = [gradients(model, x) for _ in range(3)]
    state.step = 0
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='eager')
    for plain in expected:
        found = {n.replace('_orig_mod.', ''): g for n, g in gradients(compiled, x).items()}
        assert_same(found, plain, rtol=1e-9, atol=1e-12)


def step_gradients(model, x):
    """Gradients of the parameters after each of two steps, without an optimizer between."""
    found = []
    for _ in range(2):
        model.zero_grad()
        loss_of(model(x)).backward()
        found.append({n.removeprefix('module.'): p.grad.clone()
                      for n, p in model.named_parameters() if p.grad is not None})
    return found


def distributed_gradients(rank, build, names):
    """Gradients of one of two processes from its half of each batch."""
    found = {}
    for name in names:
        for static_graph in (False, True):
            model, x = build(name)
            # MViT leaves parameters of outputs without use.
            parallel = nn.parallel.DistributedDataParallel(
                model, static_graph=static_graph, find_unused_parameters=not static_graph)
            found[name, static_graph] = step_gradients(parallel, x[rank:rank + 1])
    return found


def check_distributed(build, names):
    """Two processes with one sample each give the gradients of one process with both.

    Args:
        build: from a name to a model with SBP, without dropout, and its input;
            a function of the test's module, which the processes import.
        names: of the cases.
    """
    found = run_processes(distributed_gradients, build, list(names))[0]
    for name in names:
        expected = step_gradients(*build(name))
        for static_graph in (False, True):
            for one, other in zip(found[name, static_graph], expected):
                assert_same(one, other, rtol=1e-6, atol=1e-9)


SETTINGS = {check.__name__[6:]: check for check in (check_checkpointing, check_grad_scaler)}

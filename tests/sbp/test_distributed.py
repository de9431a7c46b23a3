"""Two processes (gloo): DDP with SBP equals one process with the global batch."""
import pytest
import torch
from processes import run_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sbp_tad.sbp import ClipwiseSBP, SBPConfig, fold_frozen_norm

FORMS = [dict(mode='direct'), dict(mode='deferred'), dict(mode='deferred', sampler='gradient')]
STEPS = 2


def build(options):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten())
    fold_frozen_norm(encoder)
    sbp = ClipwiseSBP(encoder, SBPConfig(keep_ratio=0.5, **options), seed=3)
    return nn.Sequential(sbp, nn.Linear(4, 1)).double()


def clips_of(rank, step):
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(1, 4, 3, 8, 8, generator=generator, dtype=torch.float64)


def gradients(model, ranks):
    """The gradients after each step for the samples of these ranks, without an optimizer."""
    found = []
    for step in range(STEPS):
        model.zero_grad()
        model(torch.cat([clips_of(rank, step) for rank in ranks])).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    return found


def work(rank):
    results = {}
    for number, options in enumerate(FORMS):
        for static_graph in (False, True):
            model = DistributedDataParallel(build(options), static_graph=static_graph)
            results[number, static_graph] = gradients(model, [rank])
    return results


@pytest.mark.slow
def test_ddp_equals_one_process_with_the_global_batch():
    for (number, _), found in run_processes(work)[0].items():
        together = gradients(build(FORMS[number]), [0, 1])
        for step in range(STEPS):
            for average, total in zip(found[step], together[step]):
                torch.testing.assert_close(average, total / 2)


def draw(rank):
    """The kept clips of one sample per process, in two steps of two runs."""
    clips = torch.ones(1, 32, 1, requires_grad=True)
    runs = []
    for _ in range(2):
        sbp = ClipwiseSBP(nn.Identity(), SBPConfig(keep_ratio=0.5, sampler='random'), seed=3)
        runs.append([torch.autograd.grad(sbp(clips).sum(), clips)[0].flatten() != 0
                     for _ in range(2)])
    return runs


def test_processes_keep_different_clips_reproducibly():
    first, second = run_processes(draw)
    for step in range(2):
        assert not torch.equal(first[0][step], second[0][step])
        for runs in (first, second):
            assert torch.equal(runs[0][step], runs[1][step])
        alone = ClipwiseSBP(nn.Identity(), SBPConfig(keep_ratio=0.5, sampler='random'), seed=3)
        alone.step = step
        clips = torch.ones(2, 32, 1, requires_grad=True)
        kept = torch.autograd.grad(alone(clips).sum(), clips)[0].flatten(1) != 0
        assert torch.equal(kept, torch.stack([first[0][step], second[0][step]]))

"""Two processes (gloo): DDP averages what each process keeps of its own sample."""
import pytest
import torch
from processes import run_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sbp_tad.sbp import ClipwiseSBP, SBPConfig, fold_frozen_norm

FORMS = [dict(mode='direct'), dict(mode='deferred'), dict(mode='deferred', sampler='gradient')]
STEPS = 2


def build(options, rank):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten())
    fold_frozen_norm(encoder)
    sbp = ClipwiseSBP(encoder, SBPConfig(keep_ratio=0.5, **options), seed=rank)
    return nn.Sequential(sbp, nn.Linear(4, 1)).double()


def clips_of(rank, step):
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(1, 4, 3, 8, 8, generator=generator, dtype=torch.float64)


def gradients(model, rank):
    """The gradients after each step, without an optimizer between."""
    found = []
    for step in range(STEPS):
        model.zero_grad()
        model(clips_of(rank, step)).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    return found


def work(rank):
    results = {}
    for number, options in enumerate(FORMS):
        for static_graph in (False, True):
            model = DistributedDataParallel(build(options, rank), static_graph=static_graph)
            results[number, static_graph] = gradients(model, rank)
    return results


@pytest.mark.slow
def test_ddp_averages_the_gradients_of_both_processes():
    for (number, _), found in run_processes(work)[0].items():
        alone = [gradients(build(FORMS[number], rank), rank) for rank in (0, 1)]
        for step in range(STEPS):
            for average, first, second in zip(found[step], alone[0][step], alone[1][step]):
                torch.testing.assert_close(average, (first + second) / 2)

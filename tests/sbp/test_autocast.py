"""Autocast's state is read alike on old and new torch."""
import pytest
import torch

from sbp_tad.sbp.autocast import autocast_dtype, cast_like_autocast


def test_dtype_inside_and_outside():
    assert autocast_dtype('cpu') is None and autocast_dtype('cuda') is None
    with torch.autocast('cpu', torch.bfloat16):
        assert autocast_dtype('cpu') == torch.bfloat16 and autocast_dtype('cuda') is None
    with torch.autocast('cpu', enabled=False):
        assert autocast_dtype('cpu') is None


@pytest.mark.parametrize('cpu, cuda', [(False, False), (True, False), (False, True)])
def test_torch_before_2_4(monkeypatch, cpu, cuda):
    monkeypatch.delattr(torch, 'get_autocast_dtype')
    for name, answer in (('is_autocast_cpu_enabled', cpu), ('is_autocast_enabled', cuda),
                         ('get_autocast_cpu_dtype', torch.bfloat16),
                         ('get_autocast_gpu_dtype', torch.float16)):
        monkeypatch.setattr(torch, name, lambda answer=answer: answer)
    assert autocast_dtype('cpu') == (torch.bfloat16 if cpu else None)
    assert autocast_dtype('cuda') == (torch.float16 if cuda else None)


def test_inputs_are_cast_as_autocast_would():
    single, double = torch.ones(2), torch.ones(2, dtype=torch.float64)
    assert cast_like_autocast(single) is single
    with torch.autocast('cpu', torch.bfloat16):
        assert cast_like_autocast(single).dtype == torch.bfloat16
        assert cast_like_autocast(double) is double

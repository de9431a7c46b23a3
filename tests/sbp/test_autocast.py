"""Autocast's state is read alike on old and new torch."""
import pytest
import torch

from sbp_tad.sbp.autocast import autocast_dtype


@pytest.fixture(params=['new', 'old'])
def torch_of_any_age(request, monkeypatch):
    if request.param == 'new':
        return
    asked = torch.is_autocast_enabled
    monkeypatch.delattr(torch, 'get_autocast_dtype')
    monkeypatch.setattr(torch, 'is_autocast_cpu_enabled', lambda: asked('cpu'))
    monkeypatch.setattr(torch, 'get_autocast_cpu_dtype', lambda: torch.bfloat16)
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda kind='cuda': asked(kind))
    monkeypatch.setattr(torch, 'get_autocast_gpu_dtype', lambda: torch.float16)


def test_dtype_inside_and_outside(torch_of_any_age):
    assert autocast_dtype('cpu') is None and autocast_dtype('cuda') is None
    with torch.autocast('cpu', torch.bfloat16):
        assert autocast_dtype('cpu') == torch.bfloat16 and autocast_dtype('cuda') is None
    with torch.autocast('cpu', enabled=False):
        assert autocast_dtype('cpu') is None

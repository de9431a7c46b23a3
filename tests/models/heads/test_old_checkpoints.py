"""Weights that were trained with other points are refused, or loaded by name with those points."""
import pytest
import torch

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.anchor_free_head import AnchorFreeHead


def head(**options):
    return AnchorFreeHead(num_classes=2, in_channels=4, **options)


def of_version(state, version):
    for metadata in state._metadata.values():
        metadata['version'] = version
    return state


def test_old_weights_need_their_old_points(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save(of_version(head().state_dict(), 1), path)
    old = torch.load(path)
    with pytest.raises(CheckpointError, match="prior_offset='half_stride' in the model"):
        head().load_state_dict(old)
    head(prior_offset='half_stride').load_state_dict(old)


def test_weights_of_today_and_of_other_codes_load():
    head().load_state_dict(head().state_dict())
    head().load_state_dict(dict(head().state_dict()))


def test_an_unknown_place_of_the_points():
    with pytest.raises(ModelError, match="prior_offset must be a number of level-0 steps or "
                                         "'half_stride', got 'middle'"):
        head(prior_offset='middle')

"""The small network for single frames: its shapes, and the independence of its frames."""
import torch

from sbp_tad.models.backbones.frame_cnn import FrameCNN
from sbp_tad.registry import MODELS


def test_a_map_a_frame():
    torch.manual_seed(0)
    network = MODELS.build(dict(type='FrameCNN', channels=32))
    assert isinstance(network, FrameCNN)
    frames = torch.randn(3, 3, 48, 32)
    maps = network(frames)
    assert maps.shape == (3, 32, 3, 2)
    changed = frames.clone()
    changed[1] += torch.randn(3, 48, 32)
    again = network(changed)
    torch.testing.assert_close(again[[0, 2]], maps[[0, 2]])
    assert not torch.allclose(again[1], maps[1])


def test_places_are_kept_as_features_of_their_own():
    torch.manual_seed(0)
    network, places = FrameCNN(32), FrameCNN(32, keep_places=True)
    places.load_state_dict(network.state_dict())
    frames = torch.randn(2, 3, 48, 32)
    torch.testing.assert_close(places(frames), network(frames).flatten(1))


def test_a_frozen_network_learns_nothing():
    assert not any(p.requires_grad for p in FrameCNN(32, frozen=True).parameters())
    assert all(p.requires_grad for p in FrameCNN(32).parameters())

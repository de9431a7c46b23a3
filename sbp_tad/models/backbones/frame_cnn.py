"""A small network for single frames that trains in a minute."""
from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.registry import MODELS


@MODELS.register_module()
class FrameCNN(BaseModule):
    """Four strided convolutions: frames (n, 3, H, W) to maps (n, channels, H / 16, W / 16).

    It uses group normalization, since SBP allows no batch statistics.

    Args:
        channels: of the features; the layers before have fewer.
        keep_places: return the flattened map, a vector (n, channels * H / 16 *
            W / 16). Otherwise the map is averaged later, which loses the
            position of objects in the frame and most of their motion.
        frozen: do not train the weights.
    """

    def __init__(self, channels: int = 64, keep_places: bool = False, frozen: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.keep_places = keep_places
        widths = (3, channels // 4, channels // 2, channels, channels)
        self.layers = nn.Sequential(*[
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1),
                          nn.GroupNorm(8, after), nn.ReLU())
            for before, after in zip(widths, widths[1:])])
        self.requires_grad_(not frozen)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames (n, 3, H, W) to feature maps or vectors."""
        maps = self.layers(frames)
        return maps.flatten(1) if self.keep_places else maps

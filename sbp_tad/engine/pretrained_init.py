"""``init_cfg=dict(type='Pretrained')`` that takes published checkpoints, or refuses them."""
from __future__ import annotations

from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from torch import Tensor, nn

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.engine.published_weights import adopt_published, count_fitting, without_module
from sbp_tad.registry import WEIGHT_INITIALIZERS

BACKBONE = 'backbone.'


class _AsBackbone(nn.Module):
    """A network under the names that it has in a detector, which converters give."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PublishedInit(PretrainedInit):
    """Initialize a network from a checkpoint, which may be one of another code base.

    mmengine's own leaves a network as it is, with a warning, if no name fits.

    Args:
        checkpoint: file or address.
        prefix: prefix of the part of the checkpoint to load; None for all.
        map_location: device of the loaded tensors.

    Raises:
        CheckpointError: no weight of the file fits.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the checkpoint; convert it first if that fills more of the network."""
        if self.prefix is None:
            converted = self._converted(module)
            if converted is not None:
                load_state_dict(module, converted, strict=False, logger='current')
                return
        super().__call__(module)

    def _converted(self, module: nn.Module) -> dict[str, Tensor] | None:
        """Return the weights under the names of the network, None if they have them."""
        checkpoint: Any = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        named, detector = _fitting(checkpoint, module), _AsBackbone(module)
        origin = adopt_published(checkpoint, detector, self.checkpoint)
        if _fitting(checkpoint, detector) > named:
            print_log(origin.report or f'{self.checkpoint}: its backbone is taken', 'current')
            return {name.removeprefix(BACKBONE): value for name, value in
                    checkpoint['state_dict'].items() if name.startswith(BACKBONE)}
        if not named:
            raise CheckpointError(f'{self.checkpoint} fills no weight of {type(module).__name__}. '
                                  f'Give a checkpoint of such a network{origin.advice}.')
        return None


def _fitting(checkpoint: Any, module: nn.Module) -> int:
    """Return how many weights of a network a checkpoint fills as it is."""
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    return count_fitting(without_module(weights), module.state_dict())

"""What a step of each strategy saves and takes, all on the same batch."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sbp_tad.models.saved_memory import meter_saved_memory


@dataclass(frozen=True)
class SavedBytes:
    """The most that is held for backward in one training step.

    Args:
        backbone: by the backbone alone, when its features are backpropagated.
        model: by all of the model.
    """

    backbone: int
    model: int


def training_loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The loss of a preprocessed batch."""
    return model.parse_losses(model(**batch, mode='loss'))[0]


def batch_bytes(model: nn.Module, batch: dict[str, Any]) -> SavedBytes:
    """Measure one step on a preprocessed batch, without an update.

    The whole step is measured, since some strategies encode again in the
    backward and hold memory only then. The backbone is called a second time
    with what the model handed to it.
    """
    model.train()
    calls: list[tuple[tuple, dict]] = []
    handle = model.backbone.register_forward_pre_hook(
        lambda module, inputs, options: calls.append((inputs, options)), with_kwargs=True)
    with meter_saved_memory(model) as whole:
        training_loss(model, batch).backward()
    handle.remove()
    inputs, options = calls[-1]
    with meter_saved_memory(model.backbone) as alone:
        features = model.backbone(*inputs, **options)
        if features.requires_grad:
            features.sum().backward()
    model.zero_grad()
    return SavedBytes(alone.bytes, whole.bytes)

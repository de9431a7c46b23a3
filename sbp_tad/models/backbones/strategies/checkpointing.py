"""Activation checkpointing: save the inputs of blocks, compute the rest a second time."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import resnet, resnet3d, swin, vit_mae
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import BlockStrategy, Keys
from sbp_tad.sbp import SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features

# Residual and transformer blocks, as published recipes checkpoint them.
BLOCK_TYPES = (resnet.BasicBlock, resnet.Bottleneck, resnet3d.BasicBlock3d, resnet3d.Bottleneck3d,
               swin.SwinTransformerBlock3D, vit_mae.Block)


class CheckpointingStrategy(BlockStrategy):
    """Save only the inputs of blocks and run every block a second time; the gradient is exact.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv
    1604.06174 (2016). A block runs again when its backward begins. This costs
    one more forward: a third of a step's time where the backward takes twice
    as long as the forward.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of the names of the checkpointed modules;
            None takes residual and transformer blocks of mmaction.
    """

    mode: ClassVar[str] = 'checkpointing'

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Run the blocks under checkpointing from now on.

        Raises:
            SBPError: the network has no such block.
        """
        blocks = list(find_blocks(network, self.blocks))
        if not blocks:
            raise SBPError(
                f"mode 'checkpointing' found no block in {type(network).__name__}"
                + (f' that matches {list(self.blocks)}' if self.blocks else '')
                + "; name its modules by options=dict(blocks=['layers.*', ...]).")
        for block in blocks:
            block.forward = partial(run_checkpointed, block)

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in one pass, whose blocks save only their inputs."""
        return encoder(clips)


def find_blocks(network: nn.Module, patterns: Sequence[str] | None) -> Iterator[nn.Module]:
    """Find modules whose whole name matches a pattern; for None, blocks of a known type."""
    for name, module in network.named_modules():
        if patterns is None:
            matches = isinstance(module, BLOCK_TYPES)
        else:
            matches = any(re.fullmatch(pattern, name) for pattern in patterns)
        if matches:
            yield module


def run_checkpointed(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Run the block's own forward; with gradient, save only its inputs."""
    forward = type(block).forward
    if not torch.is_grad_enabled():
        return forward(block, *args, **kwargs)
    return checkpoint(forward, block, *args, use_reentrant=False, **kwargs)

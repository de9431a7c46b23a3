"""Activation checkpointing: keep the inputs of blocks, compute the rest a second time."""
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

# Residual and transformer blocks: what published recipes checkpoint.
BLOCK_TYPES = (resnet.BasicBlock, resnet.Bottleneck, resnet3d.BasicBlock3d, resnet3d.Bottleneck3d,
               swin.SwinTransformerBlock3D, vit_mae.Block)


class CheckpointingStrategy(BlockStrategy):
    """The exact gradient; every block's forward runs twice.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv
    1604.06174 (2016): only the inputs of blocks are kept, and a block is run
    again when its backward comes. It costs one more forward, a third of the
    time of a step where the backward takes twice the forward's.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of module names that are checkpointed;
            None takes residual and transformer blocks of mmaction.
    """

    mode: ClassVar[str] = 'checkpointing'

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Run the blocks under checkpointing from now on.

        Raises:
            SBPError: there is no such block.
        """
        blocks = list(find_blocks(network, self.blocks))
        if not blocks:
            raise SBPError(
                f"mode 'checkpointing' found no block in {type(network).__name__}"
                + (f' that fits {list(self.blocks)}' if self.blocks else '')
                + "; name its modules by options=dict(blocks=['layers.*', ...]).")
        for block in blocks:
            block.forward = partial(run_checkpointed, block)

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Everything in one pass, whose blocks keep their inputs."""
        return encoder(clips)


def find_blocks(network: nn.Module, patterns: Sequence[str] | None) -> Iterator[nn.Module]:
    """Modules whose whole name fits a pattern, or blocks of a known type."""
    for name, module in network.named_modules():
        if patterns is None:
            fits = isinstance(module, BLOCK_TYPES)
        else:
            fits = any(re.fullmatch(pattern, name) for pattern in patterns)
        if fits:
            yield module


def run_checkpointed(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The block's own forward; with gradient, only its inputs are kept."""
    forward = type(block).forward
    if not torch.is_grad_enabled():
        return forward(block, *args, **kwargs)
    return checkpoint(forward, block, *args, use_reentrant=False, **kwargs)

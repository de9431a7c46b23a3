"""Clip-wise SBP, direct form: encode all clips, cache activations of the kept ones only.

"Clip" is one item of the encoder's batch: a frame for a 2D network, a run of
frames for a 3D one. Shapes: B samples, K clips a sample, N clips in all.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

import torch
from torch import Tensor, nn

from sbp_tad.sbp.config import SBPConfig, SBPError
from sbp_tad.sbp.functions import scale_gradient
from sbp_tad.sbp.sampling import draw_kept_clips, keep_count

Features = Union[Tensor, 'tuple[Features, ...]', 'list[Features]']
Encoder = Callable[[Tensor], Features]


def map_tensors(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply ``function`` to corresponding tensors of equal nests of tuples and lists."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    if isinstance(trees[0], (tuple, list)):
        return type(trees[0])([map_tensors(function, *items) for items in zip(*trees)])
    raise SBPError('an encoder must return a tensor or a tuple or list of tensors, '
                   f'got {type(trees[0]).__name__}.')


def encode_in_chunks(encoder: Encoder, clips: Tensor, clips_at_once: int) -> Features:
    """Encode ``clips`` (N, ...) at most ``clips_at_once`` at a time and join the features."""
    parts = [encoder(chunk) for chunk in clips.split(clips_at_once)]
    return parts[0] if len(parts) == 1 else map_tensors(lambda *items: torch.cat(items), *parts)


def encode_clips(encoder: Encoder, clips: Tensor, kept: Tensor, *, clips_at_once: int = 16,
                 gradient_scale: float = 1.0) -> Features:
    """Encode every clip, but keep the backward of the kept ones only.

    Forward: ``encoder(clips)`` row by row. Backward: the gradient of the kept
    rows times ``gradient_scale``; the dropped rows are encoded without grad,
    ``clips_at_once`` at a time, so their activations are never cached.

    The kept clips go first: under autocast a weight cast inside ``no_grad``
    stays in the cast cache without its gradient and would cut the kept pass.

    Args:
        encoder: maps (n, ...) clips to a tensor (n, ...) or a nest of those.
        clips: (N, ...).
        kept: (N,) bool, True = keep the backward of that clip.
        clips_at_once: bound of the pass without gradient.
        gradient_scale: 1 / probability of being kept, for an unbiased estimate.

    Returns:
        Features of all N clips in their order.
    """
    if not torch.is_grad_enabled():
        return encode_in_chunks(encoder, clips, clips_at_once)
    if kept.all():
        return encoder(clips)
    kept = kept.to(clips.device)
    kept_index, dropped_index = kept.nonzero().flatten(), (~kept).nonzero().flatten()
    kept_features = encoder(clips[kept_index])
    with torch.no_grad():
        dropped_features = encode_in_chunks(encoder, clips[dropped_index], clips_at_once)
    order = torch.cat([kept_index, dropped_index]).argsort()

    def join(kept_part: Tensor, dropped_part: Tensor) -> Tensor:
        scaled = scale_gradient(kept_part, gradient_scale)
        return torch.cat([scaled, dropped_part]).index_select(0, order)

    return map_tensors(join, kept_features, dropped_features)


def check_batch_norm(module: nn.Module) -> None:
    """Refuse batch normalization in training mode.

    Kept and dropped clips are encoded in passes of their own: each would
    normalize with its own statistics (the forward would not be exact) and
    update the running ones.

    Raises:
        SBPError: names the first such layer.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            raise SBPError(
                f'batch normalization {name!r} is in training mode, but SBP encodes kept and '
                'dropped clips in separate passes, which would normalize each with its own '
                'statistics; freeze it (norm_eval=True, or layer.eval()) or use keep_ratio=1.')


def encode_stochastically(encoder: Encoder, module: nn.Module, clips: Tensor, num_clips: int,
                          config: SBPConfig, keys: Sequence[Sequence[int]]) -> Features:
    """Encode the clips of a batch; each sample keeps its own random part of the backward.

    Args:
        encoder: maps (n, ...) clips to (n, ...) features.
        module: the network behind the encoder, checked for live batch
            normalization.
        clips: (B * K, ...), the K clips of a sample side by side.
        num_clips: K.
        config: the choices of SBP.
        keys: B sampling keys, see :func:`draw_kept_clips`.

    Returns:
        Features of all B * K clips, equal to ``encoder(clips)``.

    Raises:
        SBPError: no clips, or batch normalization in training mode.
    """
    if num_clips < 1 or len(clips) != num_clips * len(keys):
        raise SBPError(f'expected at least one clip a sample and {len(keys)} x {num_clips} clips '
                       f'in all, got {len(clips)}; check the clip length against the video.')
    if config.keep_ratio == 1:
        return encode_clips(encoder, clips, torch.ones(len(clips), dtype=torch.bool))
    check_batch_norm(module)
    kept = draw_kept_clips(num_clips, config.keep_ratio, config.sampler, keys)  # (B, K)
    num_kept = keep_count(config.keep_ratio, num_clips)
    return encode_clips(encoder, clips, kept.flatten(), clips_at_once=config.clips_at_once,
                        gradient_scale=num_clips / num_kept if config.rescale else 1.0)


class ClipwiseSBP(nn.Module):
    """Wrap an encoder so that a random part of each sample's clips is backpropagated.

    In evaluation mode and without grad the encoder is untouched. What is kept
    depends on (seed, step, sample) alone; ``step`` counts training forwards
    and is no part of the state dict: set it when resuming.

    Args:
        encoder: module that maps (n, ...) clips to (n, ...) features.
        config: the choices of SBP.
        seed: first number of every sampling key.
    """

    def __init__(self, encoder: nn.Module, config: SBPConfig, seed: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.seed = seed
        self.step = 0

    def forward(self, clips: Tensor) -> Features:
        """Encode ``clips`` (B, K, ...); features (B * K, ...) in the same order."""
        batch, num_clips = clips.shape[:2]
        flat = clips.flatten(0, 1)  # (B * K, ...)
        if not (self.training and torch.is_grad_enabled()):
            return self.encoder(flat)
        keys = [(self.seed, self.step, sample) for sample in range(batch)]
        self.step += 1
        return encode_stochastically(self.encoder, self.encoder, flat, num_clips, self.config,
                                     keys)

"""Clip-wise SBP: encode all clips and backpropagate some, in direct or deferred mode.

A clip is one item of the encoder's batch: one frame for a 2D network, several
consecutive frames for a 3D network. Shapes: B samples, K clips per sample, N clips
in total.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sbp_tad.sbp.config import GRADIENT_SAMPLER, SBPConfig, SBPError
from sbp_tad.sbp.deferred import ChooseClips, encode_deferred
from sbp_tad.sbp.functions import scale_gradient
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks, map_tensors
from sbp_tad.sbp.sampling import (
    draw_by_gradient,
    draw_kept_clips,
    global_positions,
    in_backward,
    keep_count,
)


def encode_clips(encoder: Encoder, clips: Tensor, kept: Tensor, *, clips_at_once: int = 16,
                 gradient_scale: float = 1.0) -> Features:
    """Encode every clip and backpropagate only the kept clips.

    Forward: ``encoder(clips)`` row by row. Backward: the gradient of the kept
    rows times ``gradient_scale``. The dropped rows are encoded without
    gradient, ``clips_at_once`` at a time, so their activations are not saved.

    The kept clips go first. Under autocast a weight that is cast inside
    ``no_grad`` stays in the cast cache without its gradient, and would remove
    the gradient of the kept pass.

    Args:
        encoder: maps (n, ...) clips to a tensor (n, ...) or a nest of those.
        clips: (N, ...).
        kept: (N,) bool, True where a clip is backpropagated.
        clips_at_once: most clips in one pass without gradient.
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
    """Refuse batch normalization that uses batch statistics.

    Kept and dropped clips are encoded in separate passes. Each pass would
    normalize with its own statistics, so the forward would not be exact, and
    would update the running statistics.

    Raises:
        SBPError: a layer uses batch statistics; names the first one.
    """
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
            continue
        if layer.training:
            raise SBPError(
                f'batch normalization {name!r} is in training mode, but SBP encodes kept and '
                'dropped clips in separate passes, and each pass would normalize with its own '
                'statistics; freeze it (norm_eval=True, or layer.eval()) or use keep_ratio=1 '
                "with mode='direct'.")
        if layer.running_mean is None:
            raise SBPError(
                f'batch normalization {name!r} has no running statistics, so each pass of SBP '
                'would normalize with its own statistics; use track_running_stats=True or '
                'another normalization.')


def check_not_distributed(module: nn.Module) -> None:
    """Refuse a module that is, or contains, one wrapped for data-parallel training.

    Raises:
        SBPError: a module is wrapped for data-parallel training.
    """
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    for name, layer in module.named_modules():
        if isinstance(layer, wrappers):
            raise SBPError(f'{name or "the encoder"!r} is wrapped in {type(layer).__name__}, which '
                           'expects one forward per step, but SBP runs several; apply SBP first '
                           'and wrap the result.')


def feature_products(from_head: Sequence[Tensor | None], batch: int, num_clips: int) -> Tensor:
    """Compute the inner products (B, K, K) of the gradients of the clips of each sample.

    They are summed over all feature tensors, in float32 or better, and are
    zero where the loss used no feature.
    """
    total = torch.zeros(batch, num_clips, num_clips)
    for gradient in from_head:
        if gradient is not None:
            rows = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
            rows = rows.unflatten(0, (batch, num_clips)).flatten(2)  # (B, K, numbers per clip)
            total = total.to(rows) + rows @ rows.mT
    return total


def choose_by_gradient(num_clips: int, config: SBPConfig, keys: Sequence[Sequence[int]]
                       ) -> ChooseClips:
    """Return a function that chooses clips from the gradients of their features."""
    num_kept = keep_count(config.keep_ratio, num_clips)

    def choose(from_head: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
        products = feature_products(from_head, len(keys), num_clips)
        kept, chances = draw_by_gradient(products, num_kept, keys)  # (B, K) both
        weights = 1 / chances if config.rescale else torch.ones_like(chances)
        return kept.flatten(), weights.flatten()

    return choose


def encode_stochastically(encoder: Encoder, module: nn.Module, clips: Tensor, num_clips: int,
                          config: SBPConfig, keys: Sequence[Sequence[int]]) -> Features:
    """Encode the clips of a batch and backpropagate random clips of each sample.

    Args:
        encoder: maps (n, ...) clips to (n, ...) features.
        module: network that the encoder uses; checked for batch normalization
            in training mode.
        clips: (B * K, ...), the K clips of each sample next to each other.
        num_clips: K.
        config: settings of SBP.
        keys: B sampling keys, see :func:`draw_kept_clips`.

    Returns:
        Features of all B * K clips, equal to ``encoder(clips)``.

    Raises:
        SBPError: there are no samples or clips, or batch normalization uses
            batch statistics.
    """
    if not len(keys):
        raise SBPError('the batch is empty: SBP draws clips of at least one sample.')
    if num_clips < 1 or len(clips) != num_clips * len(keys):
        raise SBPError('expected at least one clip per sample and '
                       f'{len(keys)} x {num_clips} clips in total, got {len(clips)}; check the '
                       'clip length against the length of the video.')
    if config.mode == 'direct' and config.keep_ratio == 1:
        return encode_clips(encoder, clips, torch.ones(len(clips), dtype=torch.bool))
    check_batch_norm(module)
    defer = partial(encode_deferred, encoder, module, clips,
                    clips_with_grad=config.clips_with_grad,
                    clips_without_grad=config.clips_without_grad)
    if config.sampler == GRADIENT_SAMPLER:
        return defer(choose_by_gradient(num_clips, config, keys))
    kept = draw_kept_clips(num_clips, config.keep_ratio, config.sampler, keys).flatten()  # (B*K,)
    num_kept = keep_count(config.keep_ratio, num_clips)
    scale = num_clips / num_kept if config.rescale else 1.0
    if config.mode == 'deferred':
        weights = torch.full(kept.shape, scale, dtype=torch.float64)
        return defer(lambda _: (kept, weights), kept)
    return encode_clips(encoder, clips, kept, clips_at_once=config.clips_without_grad,
                        gradient_scale=scale)


class ClipwiseSBP(nn.Module):
    """Encoder that backpropagates a random part of the clips of each sample.

    In evaluation mode and without gradient it calls the encoder directly. The
    kept clips depend only on (seed, step, position in the global batch), so
    the processes of data-parallel training keep different clips. ``step``
    counts the training forwards. It is not part of the state dict: set it when
    resuming.

    Args:
        encoder: module that maps (n, ...) clips to (n, ...) features.
        config: settings of SBP.
        seed: first number of every sampling key.

    Raises:
        SBPError: the encoder is already wrapped for data-parallel training.
    """

    def __init__(self, encoder: nn.Module, config: SBPConfig, seed: int = 0) -> None:
        super().__init__()
        check_not_distributed(encoder)
        self.encoder = encoder
        self.config = config
        self.seed = seed
        self.step = 0

    def forward(self, clips: Tensor) -> Features:
        """Encode ``clips`` (B, K, ...) and return features (B * K, ...) in the same order."""
        batch, num_clips = clips.shape[:2]
        flat = clips.flatten(0, 1)  # (B * K, ...)
        if not (self.training and torch.is_grad_enabled()):
            return self.encoder(flat)
        if not in_backward():
            self.step += 1
        # The first forward has step 0.
        keys = [(self.seed, self.step - 1, sample) for sample in global_positions(batch)]
        return encode_stochastically(self.encoder, self.encoder, flat, num_clips, self.config,
                                     keys)

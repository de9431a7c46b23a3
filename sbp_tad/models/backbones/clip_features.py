"""Cutting of windows into clips, and conversion of a backbone's output to features in time.

Backbones return feature maps, vectors, two pathways, or a map with its class
token. The ranks of the tensors tell these forms apart. Each form is one
function here, registered by :func:`feature_form`.

To use a backbone that is not in the table ``tests/backbone_cases.py``, wrap
it. If :class:`SBPBackbone` refuses its output, register a function for the
ranks that the message names. Then add a row to the table, which checks shape,
temporal stride, forward, gradients and state dict.

Shapes: n clips of L frames (context included), t feature steps, C channels.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sbp_tad.sbp import SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features, list_tensors, map_tensors

FeatureForm = Callable[..., Tensor]
FEATURE_FORMS: dict[tuple[int, ...], FeatureForm] = {}


def split_clips(video: Tensor, clip_len: int, context_frames: int = 0) -> Tensor:
    """Cut windows (B, C, T, H, W) into clips (B * K, C, L, H, W) with K = T / ``clip_len``.

    Args:
        video: frames of B windows.
        clip_len: frames per clip.
        context_frames: frames of the neighbouring clips that are added on each
            side, L = ``clip_len`` + 2 ``context_frames``. At the ends of the
            window its first and last frames repeat.

    Raises:
        SBPError: T is not a multiple of the clip length.
    """
    if video.ndim != 5:
        raise SBPError('SBPBackbone with clip_len takes videos of shape (B, C, T, H, W), got '
                       f'{tuple(video.shape)}; use FormatShape(input_format="NCTHW") with one '
                       'clip per sample.')
    num_frames = video.shape[2]
    if num_frames == 0 or num_frames % clip_len:
        lower = num_frames // clip_len * clip_len
        near = f'{lower} or {lower + clip_len}' if lower else f'{clip_len}'
        raise SBPError(f'a window of {num_frames} frames is not a multiple of clip_len {clip_len}; '
                       f'set num_frames to {near}.')
    if context_frames:
        first_frames = torch.arange(0, num_frames, clip_len, device=video.device)
        offsets = torch.arange(-context_frames, clip_len + context_frames, device=video.device)
        clips = video[:, :, (first_frames[:, None] + offsets).clamp(0, num_frames - 1)]
    else:
        clips = video.unflatten(2, (-1, clip_len))  # (B, C, K, L, H, W)
    return clips.transpose(1, 2).flatten(0, 1)


def cut_context(features: Tensor, clip_len: int, context_frames: int) -> Tensor:
    """Cut the steps of the context away from features (n, C, t).

    Raises:
        SBPError: the context is not a whole number of steps.
    """
    if context_frames == 0:
        return features
    num_frames, num_steps = clip_len + 2 * context_frames, features.shape[2]
    first, rest = divmod(context_frames * num_steps, num_frames)
    if rest:
        raise SBPError(f'the backbone gives {num_steps} feature steps for a clip of {clip_len} '
                       f'frames with {context_frames} of context on each side, a step every '
                       f'{num_frames / num_steps:g} frames, so the context is not a whole number '
                       'of steps; make context_frames and clip_len multiples of the temporal '
                       'stride, or leave context_frames out where a clip has one step.')
    return features[:, :, first:num_steps - first]


def encode_together(encoder: Encoder, groups: Tensor) -> Features:
    """Encode n groups of S items (n, S, ...), all in one batch, to features (n, S', ...)."""
    features = encoder(groups.flatten(0, 1))
    return map_tensors(lambda rows: rows.unflatten(0, (len(groups), -1)), features)


def feature_form(*ranks: int) -> Callable[[FeatureForm], FeatureForm]:
    """Register a function for outputs whose tensors, in order, have these numbers of dimensions.

    The function takes these tensors and the number n of clips, and returns (n, C, t).
    """
    def register(form: FeatureForm) -> FeatureForm:
        FEATURE_FORMS[ranks] = form
        return form
    return register


def pool_space(features: Features, num_clips: int) -> Tensor:
    """Average a backbone's output for n clips over space: (n, C, t).

    Raises:
        SBPError: no form is registered for such an output.
    """
    tensors = list_tensors(features)
    form = FEATURE_FORMS.get(tuple(tensor.ndim for tensor in tensors))
    if form is None:
        raise unknown_output(tensors)
    return form(*tensors, num_clips)


def unknown_output(tensors: list[Tensor]) -> SBPError:
    """Return the error for an output of unknown form."""
    return SBPError('the wrapped backbone must return one feature map (N, C, h, w), '
                    '(N, C, t, h, w) or vector (N, C), a map with its class token, or two '
                    'pathways of one height and width, got '
                    f'{[tuple(tensor.shape) for tensor in tensors]}; choose one stage '
                    '(out_indices, out_scales) in its config, or register a function for its '
                    'ranks with sbp_tad.models.backbones.clip_features.feature_form.')


@feature_form(5)
def pool_video_map(video_map: Tensor, num_clips: int) -> Tensor:
    """Average the maps (n, C, t, h, w) of 3D networks."""
    return video_map.mean(dim=(3, 4))


@feature_form(2)
def order_vectors(vectors: Tensor, num_clips: int) -> Tensor:
    """Order vectors (n * t, C), one or more per clip, in time."""
    return vectors.unflatten(0, (num_clips, -1)).transpose(1, 2)


@feature_form(4)
def pool_frame_maps(frame_maps: Tensor, num_clips: int) -> Tensor:
    """Average the maps (n * t, C, h, w) of 2D networks."""
    return order_vectors(frame_maps.mean(dim=(2, 3)), num_clips)


@feature_form(5, 2)
def drop_class_token(video_map: Tensor, class_token: Tensor, num_clips: int) -> Tensor:
    """Average the map of MViT; its class token (n, C) has no position in time."""
    return pool_video_map(video_map, num_clips)


@feature_form(5, 5)
def join_pathways(slow: Tensor, fast: Tensor, num_clips: int) -> Tensor:
    """Join the pathways of SlowFast: (n, C1, t1, h, w), (n, C2, t2, h, w) to (n, C1 + C2, t).

    t is the smaller of t1 and t2; the steps of the other pathway are averaged.

    Raises:
        SBPError: tensors of different height or width, which are stages of one
            network rather than pathways.
    """
    if slow.shape[3:] != fast.shape[3:]:
        raise unknown_output([slow, fast])
    num_steps = min(slow.shape[2], fast.shape[2])
    pooled = [pool_video_map(pathway, num_clips) for pathway in (slow, fast)]
    return torch.cat([F.adaptive_avg_pool1d(steps, num_steps) for steps in pooled], dim=1)

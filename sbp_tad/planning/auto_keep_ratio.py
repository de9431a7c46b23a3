"""Planner of ``keep_ratio='auto'``: the largest keep ratio of a backbone that fits a budget.

SBPBackbone builds the planner by its name in the TASK_UTILS registry.
"""
from __future__ import annotations

from dataclasses import replace

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.planning.budget import format_bytes, parse_budget
from sbp_tad.planning.clip_cost import StepBytes
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.fake_tensors import empty_shape, shape_twin
from sbp_tad.planning.proposals import keep_ratios_of, largest_keep_ratio
from sbp_tad.planning.video_model import VideoModel, configured
from sbp_tad.registry import TASK_UTILS
from sbp_tad.sbp.autocast import autocast_dtype
from sbp_tad.sbp.nested_tensors import Features


@TASK_UTILS.register_module()
class KeepRatioPlanner:
    """Plan the keep ratio of an SBPBackbone from the shape of its first batch.

    Args:
        memory_budget: memory per process, such as ``'8GiB'``.

    Raises:
        PlanningError: the budget is no amount of memory.
    """

    def __init__(self, memory_budget: str | int) -> None:
        self.budget = parse_budget(memory_budget)

    def plan(self, backbone: SBPBackbone, inputs: Tensor) -> float:
        """Return the keep ratio for such inputs, see :func:`agree_on_keep_ratio`."""
        return agree_on_keep_ratio(backbone, inputs, self.budget)


def agree_on_keep_ratio(backbone: SBPBackbone, inputs: Tensor, budget: int) -> float:
    """Plan, and log, the largest keep ratio that fits in every process.

    Args:
        backbone: in training mode; it does not change.
        inputs: a training batch; only its shape counts.
        budget: bytes per process.

    Raises:
        PlanningError: not even the smallest keep ratio fits.
    """
    video_model = backbone_as_shapes(backbone, inputs)
    num_frames = inputs.shape[2] if backbone.clip_len else 1
    setting = configured(video_model, _samples(backbone, inputs), num_frames)
    ratio = largest_keep_ratio(video_model, setting, budget) or 0.0
    agreed = torch.tensor(ratio, dtype=torch.float64, device=inputs.device)
    all_reduce(agreed, op='min')  # ranks may have batches of different size
    if not agreed:
        least = replace(setting, keep_ratio=keep_ratios_of(video_model, setting)[0])
        raise PlanningError(
            f'no keep_ratio fits memory_budget={format_bytes(budget)}: the smallest, '
            f'{least.keep_ratio:g}, takes {format_bytes(video_model.predict(least).total)} for '
            f"inputs {tuple(inputs.shape)}; raise memory_budget, take mode='deferred', or make the "
            'batch smaller.')
    chosen = replace(setting, keep_ratio=float(agreed))
    print_log(f'SBPBackbone: keep_ratio {chosen.keep_ratio:g} is planned to take '
              f'{format_bytes(video_model.predict(chosen).total)} of {format_bytes(budget)} '
              f'({chosen.mode}, inputs {tuple(inputs.shape)})', logger='current')
    return chosen.keep_ratio


def _samples(backbone: SBPBackbone, inputs: Tensor) -> int:
    """Count the windows of a batch; of a batch of clips, the groups encoded together."""
    return len(inputs) if backbone.clip_len else len(inputs) // (backbone.num_segments or 1)


def backbone_as_shapes(backbone: SBPBackbone, inputs: Tensor) -> VideoModel:
    """Copy a backbone without numbers, for inputs of a given shape.

    Args:
        backbone: in training mode.
        inputs: (B, C, T, H, W) with ``clip_len``, else a batch of clips or frames.
    """
    twin = shape_twin(backbone)
    twin.planner, twin.seed = None, 0
    device = inputs.device.type
    if backbone.clip_len:
        channels, _, *size = inputs.shape[1:]
        unit_shape = (channels, backbone.clip_len, *size)
    else:
        unit_shape = (backbone.num_segments or 1, *inputs.shape[1:])

    def encode(num_clips: int) -> Features:
        if backbone.clip_len:
            shape = (1, channels, num_clips * backbone.clip_len, *size)
        else:
            shape = (num_clips * unit_shape[0], *unit_shape[1:])
        return twin(empty_shape(shape, inputs.dtype, inputs.device))

    def clips(num_frames: int) -> tuple[int, int]:
        return (num_frames // backbone.clip_len if backbone.clip_len else 1), 0

    return VideoModel(twin, twin, encode, unit_shape, clips, lambda _: StepBytes(0, 0),
                      amp=autocast_dtype(device) is not None, device=device)

"""Search for settings of a video model whose training fits a memory budget."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.backbones.strategies.modes import FIXED_MODES, TOKEN_MODE
from sbp_tad.planning.budget import format_bytes
from sbp_tad.planning.clip_cost import largest_fit
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.video_model import Setting, StepMemory, VideoModel
from sbp_tad.sbp.config import DEFAULT_CLIPS_WITHOUT_GRAD

KEEP_RATIOS = (1.0, 0.5, 0.25, 0.125)
MOST = 4096  # largest batch, and most clips per window, that are tried

Planned = tuple[Setting, StepMemory]


def describe(setting: Setting) -> str:
    """Describe a setting in one line."""
    clips = '' if setting.clips_at_once is None else f', clips_at_once={setting.clips_at_once}'
    return (f'mode={setting.mode!r}, keep_ratio={setting.keep_ratio:g}{clips}, '
            f'batch_size={setting.batch_size}, num_frames={setting.num_frames}')


def tabulate(video_model: VideoModel, current: Setting,
             keep_ratios: tuple[float, ...] = KEEP_RATIOS) -> list[Planned]:
    """Predict every mode and keep ratio, the config's own among them, other choices unchanged."""
    ratios = sorted({*keep_ratios, current.keep_ratio}, reverse=True)
    if not isinstance(video_model.backbone, SBPBackbone):
        ratios = [1.0]
    settings = [replace(current, mode=mode, keep_ratio=ratio)
                for mode in video_model.modes
                for ratio in ([1.0] if mode in FIXED_MODES else ratios)]
    return [(setting, video_model.predict(setting)) for setting in settings]


def keep_ratios_of(video_model: VideoModel, setting: Setting) -> list[float]:
    """List distinct keep ratios, ascending: one per number of kept clips, a few for tokens."""
    if not isinstance(video_model.backbone, SBPBackbone) or setting.mode in FIXED_MODES:
        return [1.0]
    if setting.mode == TOKEN_MODE:
        return sorted({*KEEP_RATIOS, setting.keep_ratio})
    num_clips, _ = video_model.clips(setting.num_frames)
    if video_model.backbone.clip_len is None:
        num_clips *= setting.batch_size
    return [round(kept / num_clips, 4) for kept in range(1, num_clips + 1)]


def propose(video_model: VideoModel, current: Setting, budget: int) -> dict[str, Planned]:
    """Find settings that fit, each with one choice changed as far as the budget allows.

    Args:
        video_model: the model to train.
        current: the setting of its config.
        budget: bytes of a whole training step.

    Returns:
        ``'as configured'`` if it fits; for each form of SBP the largest keep
        ratio; the largest batch; the longest window. If none of these fits,
        ``'smaller batch'``.

    Raises:
        PlanningError: nothing fits; the message names the smallest setting.
    """
    found = dict(_candidates(video_model, current, budget))
    if not found:
        found['smaller batch'] = _smaller_batch(video_model, current, budget)
    return {name: (setting, video_model.predict(setting)) for name, setting in found.items()}


def _candidates(video_model: VideoModel, current: Setting, budget: int
                ) -> Iterator[tuple[str, Setting]]:
    if fits(video_model, current, budget):
        yield 'as configured', current
    for mode in (mode for mode in video_model.modes if mode not in FIXED_MODES):
        setting = _fewer_clips_at_once(video_model, replace(current, mode=mode), budget)
        ratio = largest_keep_ratio(video_model, setting, budget)
        if ratio is not None:
            yield f'largest keep ratio, {mode}', replace(setting, keep_ratio=ratio)
    batch = largest_fit(lambda n: fits(video_model, replace(current, batch_size=n), budget), MOST)
    if batch:
        yield 'largest batch', replace(current, batch_size=batch)
    step = video_model.frames_step
    if step is not None:
        clips = largest_fit(lambda n: fits(
            video_model, replace(current, num_frames=n * step), budget), MOST)
        if clips:
            yield 'longest window', replace(current, num_frames=clips * step)


def fits(video_model: VideoModel, setting: Setting, budget: int) -> bool:
    """Tell whether a step takes no more than the budget."""
    return video_model.predict(setting).total <= budget


def largest_keep_ratio(video_model: VideoModel, setting: Setting, budget: int) -> float | None:
    """Find the largest keep ratio that fits, with the other choices as given; None if none fits."""
    ratios = keep_ratios_of(video_model, setting)
    count = largest_fit(lambda n: fits(
        video_model, replace(setting, keep_ratio=ratios[n - 1]), budget), len(ratios))
    return ratios[count - 1] if count else None


def _fewer_clips_at_once(video_model: VideoModel, setting: Setting, budget: int) -> Setting:
    """Reduce ``clips_at_once`` to what fits, where a whole pass does not fit at any keep ratio."""
    least = replace(setting, keep_ratio=keep_ratios_of(video_model, setting)[0])
    if setting.mode == TOKEN_MODE or fits(video_model, least, budget):
        return setting
    count = largest_fit(lambda n: fits(
        video_model, replace(least, clips_at_once=n), budget), DEFAULT_CLIPS_WITHOUT_GRAD)
    return replace(setting, clips_at_once=count) if count else setting


def _smaller_batch(video_model: VideoModel, current: Setting, budget: int) -> Setting:
    """Find the largest batch in the mode that takes the least memory.

    Raises:
        PlanningError: not even one window fits.
    """
    leanest = [replace(current, mode=mode, batch_size=1,
                       clips_at_once=None if mode in (TOKEN_MODE, 'full') else 1,
                       keep_ratio=keep_ratios_of(video_model, replace(current, mode=mode))[0])
               for mode in video_model.modes]
    least = min(leanest, key=lambda setting: video_model.predict(setting).total)
    batch = largest_fit(lambda n: fits(video_model, replace(least, batch_size=n), budget), MOST)
    if not batch:
        raise PlanningError(
            f'nothing fits {format_bytes(budget)}: the smallest setting, {describe(least)}, takes '
            f'{format_bytes(video_model.predict(least).total)}; raise the budget, or make the '
            'frames, the window or the network smaller.')
    return replace(least, batch_size=batch)

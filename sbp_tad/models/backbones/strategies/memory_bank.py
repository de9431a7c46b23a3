"""Bank of features: clips without gradient are read from it instead of being encoded.

Shapes: B windows of K clips each, clips (B * K, C, L, H, W), features (B * K, C', t) with t
steps a clip.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPConfig, SBPError, check_batch_norm, draw_kept_clips, keep_count
from sbp_tad.sbp.functions import scale_gradient
from sbp_tad.sbp.nested_tensors import Encoder, encode_in_chunks
from sbp_tad.structures import Window

BANK_NAME = 'memory_bank'
DTYPES = {'float32': torch.float32, 'float16': torch.float16}


class Place(NamedTuple):
    """Position of features in a bank: a video at one temporal stride, and the first step."""

    video: str
    first_step: int


def place_in_video(window: Window, first_frame: int, frames_per_step: float) -> Place:
    """Locate the features that begin at one sampled frame of a window.

    The steps of a video are counted from its start. A window that begins
    between two steps takes the nearer one, so its features are at most half a
    step off in time.

    Args:
        window: of the video.
        first_frame: sampled frames from the start of the window, whole steps.
        frames_per_step: sampled frames per feature step.
    """
    step_frames = window.stride_frames * frames_per_step  # in frames of the video
    start = math.floor(window.start_frame / step_frames + 0.5)
    return Place(f'{window.video_id} every {step_frames:g} frames',
                 start + round(first_frame / frames_per_step))


class FeatureBank(nn.Module):
    """The latest feature of every visited step of every video, on the CPU.

    The bank is extra state of the state dict. A checkpoint may lack it, since
    inference does not need it. Copies of the bank share no memory.

    Args:
        dtype: of the stored features. The bank takes at most its bytes times
            C' times the steps of the training videos.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self._features: dict[str, Tensor] = {}  # video -> (steps, C')
        self._filled: dict[str, Tensor] = {}  # video -> (steps,) bool

    @property
    def bytes(self) -> int:
        """Bytes of the stored features."""
        return sum(features.nbytes for features in self._features.values())

    def holds(self, place: Place, num_steps: int) -> bool:
        """Tell whether ``num_steps`` steps from ``place`` on are all there."""
        filled = self._filled.get(place.video)
        steps = slice(place.first_step, place.first_step + num_steps)
        return filled is not None and steps.stop <= len(filled) and bool(filled[steps].all())

    def read(self, place: Place, num_steps: int) -> Tensor:
        """Read features (C', ``num_steps``) that the bank holds."""
        assert self.holds(place, num_steps)
        return self._features[place.video][place.first_step:place.first_step + num_steps].T

    def write(self, place: Place, features: Tensor) -> None:
        """Store features (C', steps), replacing older ones."""
        rows = features.detach().T.to('cpu', self.dtype)  # (steps, C')
        end = place.first_step + len(rows)
        stored = self._features.get(place.video, rows[:0])
        filled = self._filled.get(place.video, torch.zeros(0, dtype=torch.bool))
        missing = end - len(stored)
        if missing > 0:
            stored = torch.cat([stored, stored.new_zeros(missing, rows.shape[1])])
            filled = torch.cat([filled, filled.new_zeros(missing)])
        stored[place.first_step:end], filled[place.first_step:end] = rows, True
        self._features[place.video], self._filled[place.video] = stored, filled

    def get_extra_state(self) -> dict[str, dict[str, Tensor]]:
        """Return the bank for a checkpoint: tensors and names, which load with weights_only."""
        return dict(features=dict(self._features), filled=dict(self._filled))

    def set_extra_state(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Load the content of another bank."""
        self._features = {video: features.to('cpu', self.dtype, copy=True)
                          for video, features in state['features'].items()}
        self._filled = {video: filled.to('cpu', copy=True)
                        for video, filled in state['filled'].items()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f'{prefix}_extra_state' in state_dict:  # else the bank stays, which is no error
            super()._load_from_state_dict(state_dict, prefix, *args)


class MemoryBankStrategy(Strategy):
    """Encode only the kept clips and read the features of the others from a bank.

    Cheng and Bertasius, "TALLFormer: Temporal Action Localization with a
    Long-memory Transformer", ECCV 2022. A share of a window's clips is encoded
    and backpropagated, and its new features replace the old ones in the bank.
    The features of the other clips come from the bank. The published recipe
    for THUMOS'14 keeps 0.15 of the clips, of 32 frames at 15 fps, of a Video
    Swin-B and stores a feature every second frame
    (github.com/klauscc/TALLFormer); average mAP 59.1 on THUMOS'14, 35.6 on
    ActivityNet-1.3 (arXiv 2204.01680, abstract).

    Saves as many activations as the direct form of SBP, and most of the time
    of the dropped clips: with a quarter kept a step takes 0.31 of the time of
    full backpropagation, SBP 0.63 (the 3D ResNet of configs/toy, one CPU
    thread). The cost is accuracy of the forward: features of the bank are as
    old as the last visit that kept their clip. They come from the crop, flip
    and rounding in time of that visit (:func:`place_in_video`). Rescaling makes
    the gradient unbiased over the choice of clips, but not over old features.

    The published code extracts all features before training. Here a clip that
    is not completely in the bank is encoded without gradient, once;
    :meth:`fill` does this before training. Evaluation encodes all clips. Under
    DDP each process has a bank of its own samples, and a checkpoint has only
    the bank of the first: resuming is exact in one process.

    Args:
        keep_ratio, sampler, rescale: see :class:`sbp_tad.sbp.SBPConfig`.
        clips_at_once: clips in one pass without gradient.
        dtype: ``'float32'``, or ``'float16'`` for half of the bank's memory.

    Raises:
        SBPError: an unknown sampler or dtype.
    """

    mode: ClassVar[str] = 'memory_bank'
    needs_windows: ClassVar[bool] = True

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 sampler: str = 'uniform_jitter', rescale: bool = True, dtype: str = 'float32'
                 ) -> None:
        super().__init__(keep_ratio, clips_at_once)
        choices = SBPConfig(sampler=sampler, rescale=rescale)  # checks them
        self.sampler, self.rescale = choices.sampler, choices.rescale
        if dtype not in DTYPES:
            raise SBPError(f'dtype of the memory bank must be one of {list(DTYPES)}, '
                           f'got {dtype!r}.')
        self.bank = FeatureBank(DTYPES[dtype])

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Put the bank into the network's state dict.

        Raises:
            SBPError: a batch of clips, which has no position in a video.
        """
        self.check_videos(layout)
        self.network, self.clip_len = network, layout.clip_len
        network.add_module(BANK_NAME, self.bank)

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Tensor:
        """Encode the kept clips and read the features of the dropped ones from the bank.

        Raises:
            SBPError: the windows of the clips are unknown.
        """
        windows, num_clips = self._known_windows(len(keys)), len(clips) // len(keys)
        ratio = self.config.keep_ratio
        kept = draw_kept_clips(num_clips, ratio, self.sampler, keys).flatten()  # (B * K,)
        if not kept.all():
            check_batch_norm(self.network)
        kept_clips, dropped_clips = (mask.nonzero().flatten() for mask in (kept, ~kept))
        features = encoder(clips[kept.to(clips.device)])  # (n, C', t)
        places = [place_in_video(window, clip * self.clip_len, self.clip_len / features.shape[2])
                  for window in windows for clip in range(num_clips)]
        recalled = self._recall(encoder, clips, [(int(clip), places[clip])
                                                 for clip in dropped_clips], features)
        for clip, feature in zip(kept_clips, features):
            self.bank.write(places[clip], feature)
        if self.rescale:
            features = scale_gradient(features, num_clips / keep_count(ratio, num_clips))
        order = torch.cat([kept_clips, dropped_clips]).argsort().to(features.device)
        return torch.cat([features, recalled]).index_select(0, order)

    @torch.no_grad()
    def _recall(self, encoder: Encoder, clips: Tensor, dropped: list[tuple[int, Place]],
                like: Tensor) -> Tensor:
        """Read features (m, C', t) of m dropped clips, with the device and dtype of ``like``."""
        num_steps = like.shape[2]
        unknown = [(clip, place) for clip, place in dropped
                   if not self.bank.holds(place, num_steps)]
        if unknown:
            found = encode_in_chunks(encoder, clips[[clip for clip, _ in unknown]],
                                     self.clips_without_grad)
            for (_, place), feature in zip(unknown, found):
                self.bank.write(place, feature)
        if not dropped:
            return like[:0].detach()
        return torch.stack([self.bank.read(place, num_steps) for _, place in dropped]).to(like)

    def _known_windows(self, batch: int) -> Sequence[Window]:
        if self.windows is None or len(self.windows) != batch:
            came = 'none' if self.windows is None else len(self.windows)
            raise SBPError(
                f"mode 'memory_bank' needs the windows of its {batch} samples to know which "
                f'features it holds, got {came}; train a TemporalDetector with data_samples, or '
                'call the backbone with windows=[...].')
        return self.windows

    def fill(self, backbone: Callable[[Tensor], Tensor],
             batches: Iterable[tuple[Tensor, Sequence[Window]]]) -> None:
        """Encode windows without gradient and store their features, before the training.

        Args:
            backbone: the SBPBackbone of this strategy, in evaluation mode.
            batches: frames (B, C, T, H, W), preprocessed, and their B windows.
        """
        for inputs, windows in batches:
            with torch.no_grad():
                features = backbone(inputs)  # (B, C', T')
            for window, steps in zip(windows, features):
                place = place_in_video(window, 0, inputs.shape[2] / steps.shape[1])
                self.bank.write(place, steps)

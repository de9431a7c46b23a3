"""Layout of the clips that a backbone encodes: their length, context and input format."""
from __future__ import annotations

from dataclasses import dataclass

from sbp_tad.sbp import SBPError

INPUT_FORMATS = ('NCHW', 'NCTHW')


@dataclass(frozen=True)
class ClipLayout:
    """Cut of a video into clips, and the form in which the network takes them.

    Args:
        clip_len: frames per clip, L without context; None for a batch of clips.
        context_frames: frames of the neighbouring clips on both sides of a clip.
        input_format: ``'NCTHW'`` for clips (n, C, L, H, W), ``'NCHW'`` for frames
            (n * L, C, H, W); None until the network is known.

    Raises:
        SBPError: an invalid length, or an unknown input format.
    """

    clip_len: int | None = None
    context_frames: int = 0
    input_format: str | None = None

    def __post_init__(self) -> None:
        if self.clip_len is not None and (not isinstance(self.clip_len, int) or self.clip_len < 1):
            raise SBPError('clip_len must be a whole number of at least 1, '
                           f'got {self.clip_len!r}.')
        if not isinstance(self.context_frames, int) or self.context_frames < 0:
            raise SBPError('context_frames must be a whole number of at least 0, '
                           f'got {self.context_frames!r}.')
        if self.context_frames and self.clip_len is None:
            raise SBPError(f'context_frames={self.context_frames} are taken from neighbouring '
                           'clips, which a batch of clips does not have; set clip_len or leave '
                           'them out.')
        if self.input_format not in (None, *INPUT_FORMATS):
            raise SBPError(f'input_format must be one of {INPUT_FORMATS}, '
                           f'got {self.input_format!r}.')

    def check_num_segments(self, num_segments: int | None) -> None:
        """Check that a clip has the frames among which the network exchanges features.

        Args:
            num_segments: of the network; None where it does not exchange any.

        Raises:
            SBPError: a clip of another length; the message says which fits.
        """
        if num_segments is None or self.clip_len is None:
            return
        num_frames = self.clip_len + 2 * self.context_frames
        if num_segments != num_frames:
            raise SBPError(
                f'the backbone exchanges features among num_segments={num_segments} frames, but a '
                f'clip has {num_frames}, context included; set clip_len to '
                f'{num_segments - 2 * self.context_frames} or num_segments to {num_frames}.')

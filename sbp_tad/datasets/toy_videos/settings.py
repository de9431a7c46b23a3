"""Settings of the toy dataset; this module imports neither av nor cv2."""
from __future__ import annotations

from dataclasses import dataclass

from sbp_tad.datasets.errors import DatasetError

from .motion import ACTION_SECONDS, MIN_VIDEO_SECONDS

LOOK_NAMES = ('shapes', 'fur')  # the keys of looks.LOOKS


@dataclass(frozen=True)
class ToySettings:
    """Settings that determine the toy dataset: equal settings give an equal dataset.

    Args:
        seed: seed of motion and look, at least 0.
        train_videos: number of videos in the subset ``training``.
        test_videos: number of videos in the subset ``test``.
        size: side of the square frames in pixels, even, 32 to 512. 80 leaves
            room for random crops of 64 to 72 pixels.
        fps: frames per second, 5 to 60. 12 is enough for the fastest motion
            (20 degrees per frame) and keeps decoding cheap.
        min_seconds: length of the shortest video in seconds.
        max_seconds: length of the longest video in seconds.
        look: name of the sprites and textures (see ``looks.LOOKS``). It does
            not change the annotation: motion and look have separate generators.
        trimmed: write one action per video, the classes in turn, and the lists
            from which mmaction trains a recognizer.

    Raises:
        DatasetError: a value is out of range; the message names it.
    """

    seed: int = 0
    train_videos: int = 48
    test_videos: int = 24
    size: int = 80
    fps: int = 12
    min_seconds: float = 20.0
    max_seconds: float = 60.0
    look: str = 'shapes'
    trimmed: bool = False

    def __post_init__(self) -> None:
        shortest, longest = ACTION_SECONDS
        rules = (
            (self.seed >= 0, 'seed must be 0 or more', self.seed),
            (self.train_videos >= 0, 'train_videos must be 0 or more', self.train_videos),
            (self.test_videos >= 0, 'test_videos must be 0 or more', self.test_videos),
            (self.train_videos + self.test_videos > 0,
             'train_videos + test_videos must be 1 or more', 0),
            (self.size % 2 == 0 and 32 <= self.size <= 512,
             'size must be an even number of pixels from 32 to 512', self.size),
            (5 <= self.fps <= 60, 'fps must be from 5 to 60', self.fps),
            (self.trimmed
             or MIN_VIDEO_SECONDS <= self.min_seconds <= self.max_seconds < float('inf'),
             f'min_seconds and max_seconds must be ordered, finite and at least '
             f'{MIN_VIDEO_SECONDS:g}, to hold one action',
             f'{self.min_seconds:g} and {self.max_seconds:g}'),
            (not self.trimmed
             or shortest <= self.min_seconds <= self.max_seconds <= longest,
             f'min_seconds and max_seconds of trimmed clips must be ordered and from '
             f'{shortest:g} to {longest:g}, as long as actions are',
             f'{self.min_seconds:g} and {self.max_seconds:g}'),
            (self.look in LOOK_NAMES, f'look must be one of {", ".join(LOOK_NAMES)}', self.look),
        )
        for holds, rule, value in rules:
            if not holds:
                raise DatasetError(f'Toy dataset: {rule}, got {value}.')

"""Motion of a toy video: one actor, its actions and its state at every frame.

The actor has several lives. In each it fades in, idles, may act, idles again
and fades out; the next life starts somewhere else. Without the fresh start, an
actor that has approached would have to shrink again, an unannotated "recede".
With it, every class passes through the same positions, sizes and angles on
average, so that a single frame does not show the class.

Lengths are fractions of the frame's side, angles are radians, clockwise as
seen on the screen (y points down).
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

CLASS_NAMES = ('turn_clockwise', 'turn_counterclockwise', 'approach', 'recede',
               'sweep_horizontal', 'sweep_vertical')

ACTION_SECONDS = (1.0, 8.0)
IDLE_SECONDS = (0.5, 1.8)  # before and after an action
AWAY_SECONDS = (0.0, 0.6)  # between two lives
FADE_SECONDS = 0.25
IDLE_LIFE_PROBABILITY = 0.2
# a video of this length always holds an action: idle, act, idle
MIN_VIDEO_SECONDS = IDLE_SECONDS[1] + ACTION_SECONDS[0] + IDLE_SECONDS[0]

POSITION_RANGE = (0.25, 0.75)
RADIUS_RANGE = (0.15, 0.42)
RANGE_TRIM = 0.1  # an interval of motion is shortened by up to this share at each end
TURN_RADIANS_PER_SECOND = (np.radians(180), np.radians(300))
SWEEP_PERIOD_SECONDS = (0.9, 1.4)
# idling: slow sway of x, y, log radius and angle, much slower than any action
SWAY_AMPLITUDE = (0.01, 0.01, 0.015, np.radians(4))
SWAY_HERTZ = (0.1, 0.25)


@dataclass(frozen=True)
class Life:
    """Frames ``[start, end)`` in which the actor is visible; ``label`` None means only idling."""

    start: int
    action_start: int
    action_end: int
    end: int
    label: str | None


@dataclass(frozen=True, eq=False)
class ActorTrack:
    """State of the actor at each of T frames.

    Attributes:
        center: x and y, (T, 2).
        radius: fraction of the frame side, (T,).
        angle: radians, clockwise on the screen, (T,).
        opacity: in [0, 1], (T,); 0 while the actor is absent.
    """

    center: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    opacity: np.ndarray


def plan_lives(rng: np.random.Generator, num_frames: int, fps: float) -> list[Life]:
    """Draw lives that fill a video; classes come in shuffled rounds, so they are balanced."""
    lives: list[Life] = []
    deck: list[str] = []
    frame = 0
    while frame < num_frames:
        deck = deck or list(rng.permutation(CLASS_NAMES))
        may_idle = bool(lives) and lives[-1].label is not None
        life = _draw_life(rng, frame, num_frames, fps, str(deck[-1]), may_idle)
        if life.label is not None:
            deck.pop()
        lives.append(life)
        frame = life.end + round(rng.uniform(*AWAY_SECONDS) * fps)
    return lives


def _draw_life(rng: np.random.Generator, start: int, num_frames: int, fps: float, label: str,
               may_idle: bool) -> Life:
    """Draw a life whose action ends inside the video, or one that only idles."""
    before, after = np.rint(rng.uniform(*IDLE_SECONDS, size=2) * fps).astype(int).tolist()
    shortest, longest = ACTION_SECONDS
    left_seconds = (num_frames - start - before) / fps - IDLE_SECONDS[0]
    if left_seconds < shortest or (may_idle and rng.random() < IDLE_LIFE_PROBABILITY):
        end = min(start + before + after, num_frames)
        return Life(start, end, end, end, None)
    longest = min(longest, left_seconds)
    seconds = np.exp(rng.uniform(np.log(shortest), np.log(longest)))  # short ones are common
    action_start = start + before
    action_end = action_start + max(int(seconds * fps), int(np.ceil(shortest * fps)))
    return Life(start, action_start, action_end, min(action_end + after, num_frames), label)


def plan_trimmed(num_frames: int, label: str) -> list[Life]:
    """Return the single life of a trimmed clip: an action from the first to the last frame."""
    return [Life(0, 0, num_frames, num_frames, label)]


def draw_track(rng: np.random.Generator, lives: list[Life], num_frames: int,
               fps: float) -> ActorTrack:
    """Draw the state of the actor at every frame of the video."""
    state, opacity = np.zeros((num_frames, 4)), np.zeros(num_frames)
    for life in lives:
        frames = np.arange(life.start, life.end)
        state[frames] = _live(rng, life, frames, fps)
        edge = np.minimum(frames - life.start, life.end - 1 - frames) + 1
        opacity[frames] = np.clip(edge / (FADE_SECONDS * fps), 0, 1)
    return ActorTrack(state[:, :2], np.exp(state[:, 2]), state[:, 3], opacity)


def _live(rng: np.random.Generator, life: Life, frames: np.ndarray, fps: float) -> np.ndarray:
    """Draw x, y, log radius and angle (T, 4) during one life."""
    unit = np.tile(rng.random(3), (len(frames), 1))  # position of each value in its interval
    angle = np.full(len(frames), rng.uniform(0, 2 * np.pi))
    low, high = _draw_intervals(rng)
    action_frames = life.action_end - life.action_start
    if life.label is not None:
        progress = np.clip((frames - life.action_start) / action_frames, 0, 1)
        _ACTIONS[life.label](rng, progress, action_frames / fps, unit, angle)
    state = np.column_stack([low + (high - low) * unit, angle])
    return state + _sway(rng, frames / fps)


def _draw_intervals(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the lower and upper ends (3,) of x, y and log radius for one life.

    An action passes its interval at constant speed; any other life stands at a
    uniform draw from it. Single frames have the same distribution in both.
    """
    ranges = np.array([POSITION_RANGE, POSITION_RANGE, np.log(RADIUS_RANGE)])  # (3, 2)
    trims = rng.uniform(0, RANGE_TRIM, size=(3, 2)) * np.diff(ranges)
    return ranges[:, 0] + trims[:, 0], ranges[:, 1] - trims[:, 1]


def _sway(rng: np.random.Generator, seconds: np.ndarray) -> np.ndarray:
    hertz = rng.uniform(*SWAY_HERTZ, size=4)
    phase = rng.uniform(0, 2 * np.pi, size=4)
    return np.sin(2 * np.pi * seconds[:, None] * hertz + phase) * SWAY_AMPLITUDE  # (T, 4)


def _turn(rng: np.random.Generator, progress: np.ndarray, seconds: float, unit: np.ndarray,
          angle: np.ndarray, *, direction: int) -> None:
    angle += direction * rng.uniform(*TURN_RADIANS_PER_SECOND) * seconds * progress


def _change_size(rng: np.random.Generator, progress: np.ndarray, seconds: float,
                 unit: np.ndarray, angle: np.ndarray, *, grow: bool) -> None:
    unit[:, 2] = progress if grow else 1 - progress


def _sweep(rng: np.random.Generator, progress: np.ndarray, seconds: float, unit: np.ndarray,
           angle: np.ndarray, *, axis: int) -> None:
    """Move back and forth a whole number of times, from the actor's position."""
    rounds = max(1, round(seconds / rng.uniform(*SWEEP_PERIOD_SECONDS)))
    first = unit[0, axis] / 2
    phase = (first if rng.random() < 0.5 else 1 - first) + rounds * progress
    unit[:, axis] = 1 - np.abs(1 - 2 * (phase % 1))  # triangle wave: constant speed


_ACTIONS: dict[str, Callable[..., None]] = {
    'turn_clockwise': partial(_turn, direction=1),
    'turn_counterclockwise': partial(_turn, direction=-1),
    'approach': partial(_change_size, grow=True),
    'recede': partial(_change_size, grow=False),
    'sweep_horizontal': partial(_sweep, axis=0),
    'sweep_vertical': partial(_sweep, axis=1),
}

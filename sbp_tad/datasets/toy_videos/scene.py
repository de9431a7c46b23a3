"""Rendering of toy videos: a moving textured ground, small distractors and the actor.

Textures and sprites come from a look (see ``looks``); the rest is common to all looks.
"""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from .looks import LOOKS, SPRITE_PIXELS, TEXTURE_PIXELS
from .motion import ActorTrack

DISTRACTOR_RADIUS = (0.04, 0.075)
DISTRACTOR_SPEED = (0.03, 0.12)  # frame sides per second; a sweep is four times as fast
PAN_SPEED = (0.02, 0.06)


def draw_frames(rng: np.random.Generator, track: ActorTrack, size: int, fps: float,
                look: str) -> Iterator[np.ndarray]:
    """Render frames (size, size, 3) uint8 RGB, one for each state of the track."""
    parts = LOOKS[look](rng)
    num_frames = len(track.radius)
    seconds = np.arange(num_frames) / fps
    views = _ground_views(rng, seconds, size)
    bounces = [_bounce(rng, seconds) for _ in parts.distractors]
    radii = rng.uniform(*DISTRACTOR_RADIUS, size=len(bounces))
    for index in range(num_frames):
        canvas = cv2.warpAffine(parts.ground, views[index], (size, size),
                                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                borderMode=cv2.BORDER_WRAP)
        for order, (sprite, center, radius) in enumerate(zip(parts.distractors, bounces, radii)):
            if order:  # the first one flies in front of the actor
                paste(canvas, sprite, center[index] * size, radius * size)
        if track.opacity[index] > 0:
            paste(canvas, parts.actor, track.center[index] * size, track.radius[index] * size,
                  track.angle[index], track.opacity[index])
        paste(canvas, parts.distractors[0], bounces[0][index] * size, radii[0] * size)
        yield np.clip(canvas, 0, 255).astype(np.uint8)


def paste(canvas: np.ndarray, sprite: np.ndarray, center: np.ndarray, radius: float,
          angle: float = 0.0, opacity: float = 1.0) -> None:
    """Draw a sprite on the canvas (H, W, 3) in place, cut at the borders.

    Args:
        center: x and y in pixels.
        radius: radius of the sprite's unit circle in pixels.
        angle: radians, clockwise on the screen.
    """
    reach = int(np.ceil(radius * 1.5)) + 1
    left, top = np.floor(center).astype(int) - reach
    right, bottom = left + 2 * reach + 1, top + 2 * reach + 1
    left, top = max(left, 0), max(top, 0)
    region = canvas[top:max(bottom, 0), left:max(right, 0)]
    if region.size == 0:
        return
    scale = radius / (SPRITE_PIXELS / 3)
    cos, sin, middle = np.cos(angle) * scale, np.sin(angle) * scale, (SPRITE_PIXELS - 1) / 2
    matrix = np.array([[cos, -sin, center[0] - left - (cos - sin) * middle],
                       [sin, cos, center[1] - top - (sin + cos) * middle]])
    layer = cv2.warpAffine(sprite, matrix, region.shape[1::-1], flags=cv2.INTER_LINEAR)
    region *= 1 - opacity * layer[..., 3:]
    region += opacity * layer[..., :3]


def _ground_views(rng: np.random.Generator, seconds: np.ndarray, size: int) -> np.ndarray:
    """Draw affine maps (T, 2, 3) from frame pixels to texture pixels: pan, slow roll and zoom."""
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*PAN_SPEED) * size
    start = rng.uniform(0, TEXTURE_PIXELS, size=2)
    pan = start + speed * seconds[:, None] * [np.cos(heading), np.sin(heading)]  # (T, 2)
    hertz, phase = rng.uniform(0.03, 0.1, size=2), rng.uniform(0, 2 * np.pi, size=2)
    waves = np.sin(2 * np.pi * seconds[:, None] * hertz + phase)  # (T, 2)
    roll, zoom = 0.2 * waves[:, 0], np.exp(0.1 * waves[:, 1])
    cos, sin, half = np.cos(roll) * zoom, np.sin(roll) * zoom, (size - 1) / 2
    x = pan[:, 0] - (cos - sin) * half
    y = pan[:, 1] - (sin + cos) * half
    return np.stack([cos, -sin, x, sin, cos, y], axis=1).reshape(-1, 2, 3)


def _bounce(rng: np.random.Generator, seconds: np.ndarray) -> np.ndarray:
    """Draw centres (T, 2) of a straight flight that the frame's borders reflect."""
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*DISTRACTOR_SPEED)
    velocity = speed * np.array([np.cos(heading), np.sin(heading)])
    path = rng.uniform(0, 2, size=2) + velocity * seconds[:, None]
    return 1 - np.abs(1 - path % 2)

"""How a toy video looks: a moving textured ground, small distractors and the actor.

A look is a function that draws the still parts from a generator; everything
else is shared by all looks. Colours are float32 RGB in [0, 255]; sprites carry
premultiplied alpha, which is what makes warping them at their rim right.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .motion import ActorTrack

TEXTURE_PIXELS = 256
SPRITE_PIXELS = 48  # a sprite's unit circle has a third of this as its radius
DISTRACTOR_RADIUS = (0.04, 0.075)
DISTRACTOR_SPEED = (0.03, 0.12)  # frame sides a second; a sweep is four times as fast
NUM_DISTRACTORS = (2, 3)
PAN_SPEED = (0.02, 0.06)

# outlines of actors, nose to +x, in a unit circle; each looks different after any turn
ACTOR_OUTLINES = (
    ((1.0, 0.0), (-0.1, 0.95), (-0.1, 0.4), (-0.95, 0.4), (-0.95, -0.4), (-0.1, -0.4),
     (-0.1, -0.95)),  # arrow
    ((1.0, 0.0), (-0.85, 0.75), (-0.4, 0.0), (-0.85, -0.75)),  # dart
    ((1.0, 0.55), (0.45, 0.55), (0.45, 0.95), (-0.95, 0.3), (-0.95, -0.3), (0.45, -0.95),
     (0.45, -0.55), (1.0, -0.55)),  # wrench
    ((1.0, 0.0), (0.1, 0.55), (-0.35, 0.95), (-0.3, 0.45), (-0.95, 0.45), (-0.6, 0.0),
     (-0.95, -0.45), (-0.3, -0.45), (-0.35, -0.95), (0.1, -0.55)),  # fish
)


@dataclass(frozen=True, eq=False)
class StillParts:
    """What a look provides: a texture that tiles (P, P, 3) and sprites (S, S, 4), float32."""

    ground: np.ndarray
    actor: np.ndarray
    distractors: tuple[np.ndarray, ...]


def draw_frames(rng: np.random.Generator, track: ActorTrack, size: int, fps: float,
                look: str) -> Iterator[np.ndarray]:
    """Frames (size, size, 3) uint8 RGB, one for each state of the track."""
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
    """Lay a sprite over the canvas (H, W, 3) in place; what lies outside is cut off.

    Args:
        center: x and y in pixels.
        radius: of the sprite's unit circle, in pixels.
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
    """Affine maps (T, 2, 3) from frame pixels to texture pixels: pan, slow roll and zoom."""
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
    """Straight flight between the frame's walls: centres (T, 2)."""
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*DISTRACTOR_SPEED)
    velocity = speed * np.array([np.cos(heading), np.sin(heading)])
    path = rng.uniform(0, 2, size=2) + velocity * seconds[:, None]
    return 1 - np.abs(1 - path % 2)


def draw_shapes_look(rng: np.random.Generator) -> StillParts:
    """Dim clouds for ground, a pointed actor with a bright nose, round and angular distractors.

    Outline and colours of the actor vary; that its nose is its brightest part
    does not, which is what lets a small network learn turning in minutes.
    """
    ground = _cloud_texture(rng)
    body, nose = 0.7 * _vivid_colours(rng, 1)[0], rng.uniform(205, 255, size=3)
    outline = ACTOR_OUTLINES[rng.integers(len(ACTOR_OUTLINES))]
    actor = _draw_sprite(outline, body, nose, rim=20)
    count = rng.integers(NUM_DISTRACTORS[0], NUM_DISTRACTORS[1] + 1)
    return StillParts(ground, actor, tuple(_draw_distractor(rng) for _ in range(count)))


def _cloud_texture(rng: np.random.Generator) -> np.ndarray:
    """Noise with a 1/f spectrum between two muted colours; periodic, as its FFT is."""
    frequency = np.fft.fftfreq(TEXTURE_PIXELS) * TEXTURE_PIXELS
    radius = np.hypot(frequency[:, None], frequency[None])  # cycles a texture
    noise = rng.standard_normal((TEXTURE_PIXELS, TEXTURE_PIXELS))
    spectrum = np.fft.fft2(noise) * (radius > 0) / np.maximum(radius, 4) ** 1.2
    cloud = np.real(np.fft.ifft2(spectrum))
    blend = np.clip(0.5 + cloud / (4 * cloud.std()), 0, 1)[..., None]  # (P, P, 1)
    dark, light = rng.uniform(15, 80, size=3), rng.uniform(75, 150, size=3)
    return (dark + (light - dark) * blend).astype(np.float32)


def _vivid_colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Saturated colours (count, 3) with hues spread over the circle."""
    hues = (rng.random() + np.arange(count) / count + rng.uniform(-0.1, 0.1, count)) % 1
    hsv = np.stack([hues * 360, rng.uniform(0.7, 1.0, count), rng.uniform(0.75, 1.0, count)], 1)
    return cv2.cvtColor(hsv[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255


def _draw_distractor(rng: np.random.Generator) -> np.ndarray:
    corners = rng.choice([3, 4, 20])
    turns = 2 * np.pi * (np.arange(corners) / corners + rng.random())
    outline = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    colour = _vivid_colours(rng, 1)[0]
    return _draw_sprite(outline, colour, colour, float(colour.mean()))


def _draw_sprite(outline: object, body: np.ndarray, nose: np.ndarray, rim: float) -> np.ndarray:
    """Premultiplied RGBA sprite: body behind, nose in front (x > 0.15), a rim around both."""
    pixels = SPRITE_PIXELS * 4  # drawn large, then averaged: smooth edges
    points = (np.asarray(outline) * (pixels / 3) + (pixels - 1) / 2).round().astype(np.int32)
    mask = cv2.fillPoly(np.zeros((pixels, pixels), np.float32), [points], 1.0)
    colour = np.empty((pixels, pixels, 3), np.float32)
    colour[:] = body
    colour[:, int(pixels / 2 + 0.15 * pixels / 3):] = nose
    cv2.polylines(colour, [points], True, (rim, rim, rim), thickness=pixels // 20)
    sprite = np.concatenate([colour * mask[..., None], mask[..., None]], axis=2)
    return cv2.resize(sprite, (SPRITE_PIXELS, SPRITE_PIXELS), interpolation=cv2.INTER_AREA)


LOOKS: dict[str, Callable[[np.random.Generator], StillParts]] = {'shapes': draw_shapes_look}

"""Looks of toy videos: background texture, actor and distractors.

A look is a function that draws them with a random generator. Colours are
float32 RGB in [0, 255]. Sprites have premultiplied alpha, so that warping
keeps the colour of their rim.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

TEXTURE_PIXELS = 256
SPRITE_PIXELS = 48  # the radius of a sprite's unit circle is a third of this
NUM_DISTRACTORS = (2, 3)

# outlines of actors, nose to +x, in a unit circle; none has a rotational symmetry
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
    """Parts that a look draws: a periodic texture (P, P, 3) and sprites (S, S, 4), float32."""

    ground: np.ndarray
    actor: np.ndarray
    distractors: tuple[np.ndarray, ...]


def draw_shapes_look(rng: np.random.Generator) -> StillParts:
    """Draw a dim cloudy ground, a pointed actor with a bright nose, and simple distractors.

    Outline and colours of the actor vary, but its nose is always its brightest
    part. Therefore a small network learns turning in minutes.
    """
    ground = _cloud_texture(rng, dark=(15, 80), light=(75, 150), steepness=1.2)
    body, nose = 0.7 * _vivid_colours(rng, 1)[0], rng.uniform(205, 255, size=3)
    outline = ACTOR_OUTLINES[rng.integers(len(ACTOR_OUTLINES))]
    actor = _draw_sprite(outline, body, nose, rim=20)
    count = rng.integers(NUM_DISTRACTORS[0], NUM_DISTRACTORS[1] + 1)
    return StillParts(ground, actor, tuple(_draw_distractor(rng) for _ in range(count)))


def draw_fur_look(rng: np.random.Generator) -> StillParts:
    """Draw a pale smooth ground, a soft furry actor with a dark head, and pale blobs.

    Every property differs from ``shapes``: the ground is bright, no edge is straight, the
    actor has fur in earthy colours, and its head is its darkest part.
    """
    ground = _cloud_texture(rng, dark=(120, 200), light=(180, 250), steepness=2.4)
    coat, marks = _earthy_colours(rng)
    actor = _draw_blob(_furry_colours(rng, coat, marks), rng, head=0.3)
    count = rng.integers(NUM_DISTRACTORS[0], NUM_DISTRACTORS[1] + 1)
    return StillParts(ground, actor, tuple(
        _draw_blob(np.full((SPRITE_PIXELS, SPRITE_PIXELS, 3), rng.uniform(90, 235, 3), np.float32),
                   rng, head=0.0) for _ in range(count)))


def _cloud_texture(rng: np.random.Generator, dark: tuple[int, int], light: tuple[int, int],
                   steepness: float) -> np.ndarray:
    """Draw periodic noise with a 1/f spectrum between two colours.

    Args:
        dark: range of the channels of the first colour.
        light: range of the channels of the second colour.
        steepness: exponent of the decay with frequency; a higher one is smoother.
    """
    cloud = _cloud(rng, TEXTURE_PIXELS, steepness)
    blend = np.clip(0.5 + cloud / 4, 0, 1)[..., None]  # (P, P, 1)
    low, high = rng.uniform(*dark, size=3), rng.uniform(*light, size=3)
    return (low + (high - low) * blend).astype(np.float32)


def _cloud(rng: np.random.Generator, pixels: int, steepness: float) -> np.ndarray:
    """Draw periodic noise (pixels, pixels) of mean 0 and standard deviation 1."""
    frequency = np.fft.fftfreq(pixels) * pixels
    radius = np.hypot(frequency[:, None], frequency[None])  # cycles per texture
    noise = rng.standard_normal((pixels, pixels))
    spectrum = np.fft.fft2(noise) * (radius > 0) / np.maximum(radius, 4) ** steepness
    cloud = np.real(np.fft.ifft2(spectrum))
    return cloud / cloud.std()


def _earthy_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a sandy or reddish coat colour and a darker colour for its marks, (3,) each."""
    coat = np.array([190, 145, 95]) + rng.uniform(-40, 40, 3)
    return coat, coat * rng.uniform(0.25, 0.5)


def _furry_colours(rng: np.random.Generator, coat: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Draw stripes or patches on a coat (S, S, 3), darker towards the head."""
    x, y = _sprite_grid()
    wobble = _cloud(rng, SPRITE_PIXELS, 1.5)
    if rng.random() < 0.5:  # stripes at any angle
        heading, cycles = rng.uniform(0, np.pi), rng.uniform(1.0, 2.0)
        along = x * np.cos(heading) + y * np.sin(heading)
        pattern = np.sin(2 * np.pi * cycles * along + wobble + rng.uniform(0, 2 * np.pi))
    else:
        pattern = _cloud(rng, SPRITE_PIXELS, 1.0)
    share = (0.5 + 0.5 * np.tanh(3 * pattern))[..., None]  # of the marks
    fur = coat + (marks - coat) * 0.6 * share + 12 * rng.standard_normal(x.shape)[..., None]
    headness = 0.5 + 0.5 * np.tanh(5 * (x - 0.25))[..., None]
    return fur + (rng.uniform(10, 45, 3) - fur) * headness


def _draw_blob(colours: np.ndarray, rng: np.random.Generator, head: float) -> np.ndarray:
    """Draw a premultiplied sprite with an irregular soft outline, longer towards +x by ``head``."""
    x, y = _sprite_grid()
    turns, waves = np.arctan2(y, x), np.arange(2, 6)
    heights = rng.uniform(-0.1, 0.1, len(waves)) / waves * 3
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    outline = 0.68 + head * np.cos(turns) + (
        heights * np.cos(turns[..., None] * waves + phases)).sum(-1)
    alpha = np.clip((outline - np.hypot(x, y)) / 0.2 + 0.5, 0, 1)
    alpha = (alpha / alpha.max())[..., None]
    return np.concatenate([np.clip(colours, 0, 255) * alpha, alpha], axis=2).astype(np.float32)


def _sprite_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (S, S) of a sprite's pixels, in units of the outlines' unit circle."""
    axis = (np.arange(SPRITE_PIXELS) - (SPRITE_PIXELS - 1) / 2) / (SPRITE_PIXELS / 3)
    return np.meshgrid(axis, axis)


def _vivid_colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw saturated colours (count, 3) with hues spread over the colour circle."""
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
    """Draw a premultiplied RGBA sprite: body, nose (x > 0.15) and a rim around both."""
    pixels = SPRITE_PIXELS * 4  # drawn large, then averaged: smooth edges
    points = (np.asarray(outline) * (pixels / 3) + (pixels - 1) / 2).round().astype(np.int32)
    mask = cv2.fillPoly(np.zeros((pixels, pixels), np.float32), [points], 1.0)
    colour = np.empty((pixels, pixels, 3), np.float32)
    colour[:] = body
    colour[:, int(pixels / 2 + 0.15 * pixels / 3):] = nose
    cv2.polylines(colour, [points], True, (rim, rim, rim), thickness=pixels // 20)
    sprite = np.concatenate([colour * mask[..., None], mask[..., None]], axis=2)
    return cv2.resize(sprite, (SPRITE_PIXELS, SPRITE_PIXELS), interpolation=cv2.INTER_AREA)


LOOKS: dict[str, Callable[[np.random.Generator], StillParts]] = {
    'shapes': draw_shapes_look, 'fur': draw_fur_look}

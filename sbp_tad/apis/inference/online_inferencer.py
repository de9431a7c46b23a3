"""Online inference: scores of every frame of a stream while it arrives."""
from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.model import build_test_set, choose_device, load_detector
from sbp_tad.apis.inference.stream_sources import FrameStream, open_stream, sample_stream
from sbp_tad.apis.launch import config_faults, load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.datasets import OnlineDetectionDataset, PackOnlineInputs
from sbp_tad.datasets.transforms import window_frames
from sbp_tad.datasets.windows import variable_rate_note
from sbp_tad.models import OnlineActionDetector
from sbp_tad.models.heads.online_head import StreamState


@dataclass(frozen=True, eq=False)
class OnlineStep:
    """Scores of one step of a stream.

    Args:
        frame_index: number of the step, from 0; there are ``target_fps`` steps per second.
        time_seconds: time of the step in the stream.
        scores: (1 + classes,) float32, a distribution; background first.
        latency_seconds: time from the decoded frame to its scores.
    """

    frame_index: int
    time_seconds: float
    scores: np.ndarray
    latency_seconds: float


class OnlineInferencer:
    """Score a stream frame by frame with a trained online detector.

    Frame rate, transforms and working windows are those of the config's test
    set. So the scores of a file equal those of ``tools/test.py`` up to rounding.
    The state does not grow with the stream: it holds the features of the memory
    and the frames of the current window.

    Args:
        config: path of a config, the config itself, or the name of a recipe
            (stem of a config file of this project).
        checkpoint: file with the trained weights; its class names take
            precedence over those of the config. None keeps the random initial
            weights, to measure time.
        device: ``'auto'`` (CUDA if available, else the CPU), ``'cpu'``,
            ``'cuda'`` or ``'cuda:N'``.

    Raises:
        ConfigError: the config or checkpoint does not exist, or the config cannot be built.
        CheckpointError: the checkpoint belongs to another model.
        InferenceError: the model is not an online detector on frames, class
            names are missing, the windows of the test set differ from those of
            the head, or the device cannot be used.

    Example:
        >>> inferencer = OnlineInferencer('online_gru_cnn4_sbp-r4_toy', 'best.pth')
        >>> for step in inferencer('kitchen.mp4'):
        ...     print(step.time_seconds, inferencer.label(step))
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None,
                 device: str = 'auto') -> None:
        cfg = config if isinstance(config, Config) else load_config(find_config(config))
        init_default_scope(cfg.get('default_scope', 'sbp_tad'))
        with config_faults():
            self.model, meta = load_detector(cfg, checkpoint, choose_device(device),
                                             OnlineActionDetector)
            self.dataset = build_test_set(cfg, self.model, meta, OnlineDetectionDataset)
        check_windows(self.model, self.dataset)
        self.class_names = tuple(self.dataset.metainfo['classes'])
        self.transforms = frame_transforms(self.dataset)

    def __call__(self, source: str | Path | int | Iterable[np.ndarray], fps: float | None = None
                 ) -> Iterator[OnlineStep]:
        """Score a stream step by step while its frames arrive.

        Args:
            source: a video file, the index of a camera, or an iterable of
                frames (H, W, 3) uint8 RGB.
            fps: frames per second of an iterable (required), and of a camera
                that does not report it; for a video file the rate in which
                ``stride_frames`` of the config counts.

        Raises:
            InferenceError, VideoReadError: see :func:`open_stream`.
        """
        stream = open_stream(source, fps)
        if fps is None and stream.clock is not None and (
                note := variable_rate_note(str(source), stream.clock, self.dataset.window_size)):
            print_log(note, 'current', logging.WARNING)
        return self.score(stream)

    def score(self, stream: FrameStream) -> Iterator[OnlineStep]:
        """Yield the steps of an open stream."""
        size, state = self.dataset.window_size, self.model.init_state()
        step_seconds = size.stride_at(stream.fps) / stream.fps
        for index, frame in enumerate(sample_stream(stream, size)):
            start = time.perf_counter()
            scores, state = self.step(state, stream.pixels(frame))
            yield OnlineStep(index, index * step_seconds, scores,
                             time.perf_counter() - start)

    def step(self, state: StreamState, frame: np.ndarray) -> tuple[np.ndarray, StreamState]:
        """Return the scores (1 + classes,) of the next frame, and the new state.

        Args:
            state: ``model.init_state()`` before the first frame; it is not changed.
            frame: the next frame (H, W, 3) uint8 RGB, at the frame rate of the config.
        """
        scores, state = self.model.step(state, self.prepare(frame))
        return scores.float().cpu().numpy(), state

    @torch.no_grad()
    def prepare(self, frame: np.ndarray) -> Tensor:
        """Transform and normalize pixels (H, W, 3) into the input (C, h, w) of the model."""
        size = frame.shape[:2]
        results = self.transforms(dict(imgs=[frame.copy()], img_shape=size, original_shape=size,
                                       num_clips=1, clip_len=1, modality='RGB'))
        inputs = torch.from_numpy(np.ascontiguousarray(window_frames(results['imgs'], 1)))
        batch = self.model.data_preprocessor(dict(inputs=[inputs], data_samples=None))
        return batch['inputs'][0, :, 0]

    def label(self, step: OnlineStep) -> str | None:
        """Return the class with the highest score; None for background."""
        best = int(step.scores.argmax())
        return self.class_names[best - 1] if best else None


def frame_transforms(dataset: OnlineDetectionDataset) -> Compose:
    """Return the transforms of the test pipeline between decoder and packing.

    Raises:
        InferenceError: the pipeline has no decoder, or does not end with ``PackOnlineInputs``.
    """
    transforms = dataset.pipeline.transforms
    decoders = [place for place, transform in enumerate(transforms)
                if type(transform).__name__.endswith('Decode')]
    if not decoders or not isinstance(transforms[-1], PackOnlineInputs):
        names = [type(transform).__name__ for transform in transforms]
        raise InferenceError('the test pipeline must decode frames and end with PackOnlineInputs, '
                             f'got {names}.')
    return Compose(transforms[decoders[0] + 1:-1])


def check_windows(model: OnlineActionDetector, dataset: OnlineDetectionDataset) -> None:
    """Refuse a head whose windows in a stream differ from those of its test set.

    A test set of whole videos leaves the windows to the head.

    Raises:
        InferenceError: they differ; the message names both.
    """
    if dataset.whole_videos:
        return
    if getattr(model.head, 'slides', False):
        raise InferenceError("the windows of the head slide, those of the test set do not: the "
                             'scores of a stream would differ from the test. Set whole_videos=True '
                             "of the test set, or windows='tiles' of the head.")
    names = ('num_frames', 'memory_frames', 'memory_stride', 'history_from')
    streamed = tuple(getattr(model.head, name) for name in names)
    tested = (dataset.window_size.num_frames, *dataset.history, dataset.history_from)
    if streamed != tested:
        raise InferenceError(f'{", ".join(names)} of the head are {streamed}, those of the test '
                             f'set {tested}: the scores of a stream would differ from the test. '
                             'Give both the same values.')

"""A stream of frames in, scores out: which action is on, told while it is on."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import Tensor

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.model import build_test_set, choose_device, load_detector
from sbp_tad.apis.inference.stream_sources import FrameStream, open_stream, sample_stream
from sbp_tad.apis.launch import config_faults, find_config, load_config
from sbp_tad.datasets import OnlineDetectionDataset, PackOnlineInputs
from sbp_tad.datasets.transforms import window_frames
from sbp_tad.models import OnlineActionDetector
from sbp_tad.models.heads.online_head import StreamState


@dataclass(frozen=True, eq=False)
class OnlineStep:
    """What is on at one moment of a stream.

    Args:
        frame_index: number of the step, from 0; ``target_fps`` of them a second.
        time_seconds: the moment of the stream that it stands for.
        scores: (1 + classes,) float32, a distribution; background first.
        latency_seconds: from the frame's decoding to its scores.
    """

    frame_index: int
    time_seconds: float
    scores: np.ndarray
    latency_seconds: float


class OnlineInferencer:
    """Tells frame by frame what is on, with a trained online detector.

    Frame rate, transforms and working windows are those of the config's test
    set, so that a file's scores equal those of ``tools/test.py`` to rounding.
    What is kept of a stream does not grow with it: the features of the memory
    and what the head has read of its window.

    Args:
        config: path of a config, the config itself, or the name of a recipe
            (stem of a config file of this project).
        checkpoint: file with the trained weights; its class names go before
            those of the config. None leaves the weights as they are drawn, to
            measure time.
        device: ``'auto'`` (CUDA where there is one, else the CPU), ``'cpu'``,
            ``'cuda'`` or ``'cuda:N'``.

    Raises:
        ConfigError: no such config or checkpoint, or one that cannot be built.
        CheckpointError: a checkpoint of another model.
        InferenceError: no online detector on frames, class names that are
            absent or too few, windows that are not the head's, or a device
            that cannot be used.

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
        """Score a stream, step by step as its frames come.

        Args:
            source: a video file, the index of a camera, or an iterable of
                frames (H, W, 3) uint8 RGB.
            fps: frames a second of an iterable (needed there), and of a
                camera that does not tell.

        Raises:
            InferenceError, VideoReadError: see :func:`open_stream`.
        """
        return self.score(open_stream(source, fps))

    def score(self, stream: FrameStream) -> Iterator[OnlineStep]:
        """The steps of an open stream."""
        size, state = self.dataset.window_size, self.model.init_state()
        step_seconds = size.stride_at(stream.fps) / stream.fps
        for index, frame in enumerate(sample_stream(stream.frames, stream.fps, size)):
            start = time.perf_counter()
            scores, state = self.step(state, stream.pixels(frame))
            yield OnlineStep(index, index * step_seconds, scores,
                             time.perf_counter() - start)

    def step(self, state: StreamState, frame: np.ndarray) -> tuple[np.ndarray, StreamState]:
        """Scores (1 + classes,) of the next frame (H, W, 3) uint8 RGB, and the state with it.

        Args:
            state: ``model.init_state()`` before the first frame; it is not changed.
            frame: the next at the frame rate of the config.
        """
        scores, state = self.model.step(state, self.prepare(frame))
        return scores.float().cpu().numpy(), state

    @torch.no_grad()
    def prepare(self, frame: np.ndarray) -> Tensor:
        """Pixels (H, W, 3) as the model takes them: transformed and normalized (C, h, w)."""
        size = frame.shape[:2]
        results = self.transforms(dict(imgs=[frame.copy()], img_shape=size, original_shape=size,
                                       num_clips=1, clip_len=1, modality='RGB'))
        inputs = torch.from_numpy(np.ascontiguousarray(window_frames(results['imgs'], 1)))
        batch = self.model.data_preprocessor(dict(inputs=[inputs], data_samples=None))
        return batch['inputs'][0, :, 0]

    def label(self, step: OnlineStep) -> str | None:
        """The class that scores highest; None for background."""
        best = int(step.scores.argmax())
        return self.class_names[best - 1] if best else None


def frame_transforms(dataset: OnlineDetectionDataset) -> Compose:
    """The test pipeline between decoder and packing, which a frame passes on its own.

    Raises:
        InferenceError: no decoder in it, or another end than ``PackOnlineInputs``.
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
    """Refuse a head whose windows in a stream are not those that it is tested on.

    Raises:
        InferenceError: with both.
    """
    names = ('num_frames', 'memory_frames', 'memory_stride')
    streamed = tuple(getattr(model.head, name) for name in names)
    tested = (dataset.window_size.num_frames, *dataset.history)
    if streamed != tested:
        raise InferenceError(f'{", ".join(names)} of the head are {streamed}, those of the test '
                             f'set {tested}: a stream would not be scored as it is tested. Set '
                             'them alike.')

"""Decoding time of windows, by the installed bare decoders and by whole pipelines.

The bare decoders do the least work that gives the frames: open the file, seek once,
decode, convert the wanted frames to RGB. All readers use one thread, as data workers
do, and take turns, so that ratios are correct on a busy machine too.
"""
from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from mmengine.config import Config
from mmengine.dataset import Compose

import sbp_tad
from benchmarks.errors import BenchmarkError
from sbp_tad.datasets import build_pipeline, probe_video
from sbp_tad.datasets.readers.video_decoding import RGB, read_frames
from sbp_tad.datasets.windows import frame_indices
from sbp_tad.structures import Window

Reader = Callable[[str, Window], Sequence[np.ndarray]]
DEFAULT_DATASET = Path(sbp_tad.__file__).parent / '.mim/configs/_base_/datasets/thumos14.py'


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of the file that is written and of the windows that are read from it.

    Raises:
        BenchmarkError: a number below 1, or a window longer than the file.
    """

    gop: int = 48  # frames from one key frame to the next
    seconds: int = 60
    fps: int = 30
    width: int = 320
    height: int = 180
    num_frames: int = 128
    stride_frames: int = 4
    windows: int = 3
    repeats: int = 5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise BenchmarkError(f'--{name.replace("_", "-")} must be at least 1, got {value}.')
        span = self.num_frames * self.stride_frames
        if span > self.seconds * self.fps:
            raise BenchmarkError(
                f'a window of {self.num_frames} frames at stride {self.stride_frames} spans {span} '
                f'frames, the file has {self.seconds * self.fps}; choose more --seconds.')

    def places(self) -> list[Window]:
        """Return the windows, spread evenly over the file."""
        last = self.seconds * self.fps - self.num_frames * self.stride_frames
        return [Window('video', float(int(start)), self.num_frames, float(self.stride_frames),
                       float(self.fps), self.num_frames)
                for start in np.linspace(0, last, self.windows + 2)[1:-1]]


@dataclass(frozen=True)
class DecodingResult:
    """Seconds per window of one reader; ratios are to the fastest bare decoder."""

    reader: str
    bare: bool
    same_frames: bool  # the same as decoding the whole file gives
    cpu_seconds: float
    wall_seconds: float
    cpu_ratio: float
    wall_ratio: float
    settings: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the settings in one dictionary."""
        row = asdict(self)
        return row | row.pop('settings')


def write_benchmark_video(path: str | Path, settings: DecodingSettings) -> None:
    """Write an H.264 file (libx264 with its defaults) of a view that moves over a texture."""
    size = (3 * settings.height, 3 * settings.width, 3)
    texture = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(texture, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=settings.fps)
        stream.width, stream.height = settings.width, settings.height
        stream.pix_fmt, stream.options = 'yuv420p', {'g': str(settings.gop)}
        for index in range(settings.seconds * settings.fps):
            x = int((1 + np.sin(index / 60)) * settings.width)
            y = int((1 + np.cos(index / 77)) * settings.height)
            view = texture[y:y + settings.height, x:x + settings.width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def window_indices(filename: str, window: Window) -> list[int]:
    """Return the frame numbers of a window in its file."""
    header = probe_video(filename)
    return frame_indices(window, header.clock).tolist()


def read_with_opencv(filename: str, window: Window) -> list[np.ndarray]:
    """Read with bare OpenCV: seek to the first frame, grab all, retrieve those of the window."""
    indices = window_indices(filename, window)
    capture = cv2.VideoCapture(filename, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
    frames, position = [], indices[0]
    for index in indices:
        while position <= index:
            capture.grab()
            position += 1
        frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return frames


def read_with_decord(filename: str, window: Window) -> np.ndarray:
    """Read with ``get_batch`` of bare decord; (T, H, W, 3)."""
    import decord

    reader = decord.VideoReader(filename, num_threads=1)
    return reader.get_batch(window_indices(filename, window)).asnumpy()


def read_with_pyav(filename: str, window: Window) -> list[np.ndarray]:
    """Read with bare PyAV: seek once, decode every frame, convert those of the window.

    The frame rate must be constant.
    """
    indices, frames, reformatter = window_indices(filename, window), [], VideoReformatter()
    with av.open(filename) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = 'NONE', 1
        ticks = 1 / (stream.average_rate * stream.time_base)
        wanted = {stream.start_time + int(index * ticks) for index in indices}
        container.seek(min(wanted), stream=stream)
        for frame in container.decode(stream):
            if frame.pts in wanted:
                frames.append(reformatter.reformat(frame, **RGB).to_ndarray())
                if len(frames) == len(wanted):
                    break
    return frames


def read_with_pipeline(transforms: Compose, filename: str, window: Window) -> list[np.ndarray]:
    """Read with the transforms of a dataset up to its decoder."""
    return transforms(dict(filename=filename, video_header=probe_video(filename), window=window,
                           annotation=None, class_names=(), modality='RGB',
                           start_index=0))['imgs']


def readers(slow: bool = False) -> tuple[dict[str, Reader], dict[str, Reader]]:
    """Return the installed bare decoders, and pipelines by the names of their transforms.

    Args:
        slow: include pipelines with mmaction's OpenCVDecode, which seeks for every
            frame, and PyAVDecode, which converts every frame of the file.
    """
    bare: dict[str, Reader] = {'OpenCV': read_with_opencv, 'PyAV': read_with_pyav}
    mmaction = ['OpenCV', 'PyAV'] if slow else []
    if importlib.util.find_spec('decord'):
        bare['decord'] = read_with_decord
        mmaction.append('Decord')
    chains = [default_transforms(), *(
        [dict(type=f'{name}Init'), dict(type='SampleWindow'), dict(type=f'{name}Decode')]
        for name in mmaction)]
    pipelines = {', '.join(transform['type'] for transform in chain):
                 partial(read_with_pipeline, Compose(build_pipeline(chain))) for chain in chains}
    return bare, pipelines


def default_transforms() -> list[dict[str, Any]]:
    """Return the test pipeline of THUMOS'14, which other datasets inherit, up to its decoder."""
    pipeline = Config.fromfile(DEFAULT_DATASET).test_pipeline
    decode = next(place for place, transform in enumerate(pipeline)
                  if transform['type'].endswith('Decode'))
    return pipeline[:decode + 1]


def measure_decoding(filename: str, settings: DecodingSettings,
                     bare: dict[str, Reader], pipelines: dict[str, Reader]
                     ) -> list[DecodingResult]:
    """Let all readers decode all windows in turns, after one pass to compare the frames.

    The time of a window is that of its fastest repeat, because other work on the machine can
    only slow a repeat down; the result is the mean over the windows.
    """
    everyone, windows = {**bare, **pipelines}, settings.places()
    expected = read_frames(filename, window_indices(filename, windows[0]))
    same = {name: np.array_equal(np.stack(list(read(filename, windows[0]))), expected)
            for name, read in everyone.items()}
    seconds = np.empty((settings.repeats, settings.windows, len(everyone), 2))  # CPU, wall
    for repeat, place, number in np.ndindex(seconds.shape[:3]):
        read = list(everyone.values())[number]
        cpu, wall = time.process_time(), time.perf_counter()
        read(filename, windows[place])
        seconds[repeat, place, number] = time.process_time() - cpu, time.perf_counter() - wall
    seconds = seconds.min(axis=0).mean(axis=0)  # (readers, 2)
    ratios = seconds / seconds[:len(bare)].min(axis=0)
    return [DecodingResult(name, name in bare, same[name], *map(float, row), *map(float, ratio),
                           asdict(settings))
            for name, row, ratio in zip(everyone, seconds, ratios)]

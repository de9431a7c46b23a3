"""Fixtures that several rooms share: small videos and the shared data."""
from __future__ import annotations

import fcntl
import gc
import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from timed_videos import make_files

REPOSITORY = Path(__file__).parents[1]
# The same examples in every run: only a change can fail it. The nightly draws new ones. Neither
# fails because the machine is slow.
PATIENT = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile('same', derandomize=True, **PATIENT)
settings.register_profile('random', print_blob=True, **PATIENT)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'same'))
SHARED_DATA = REPOSITORY / '..' / 'shared' / 'data'


def pytest_configure(config: pytest.Config) -> None:
    """Let yapf, which mmengine imports, write its grammar before the workers start.

    The first import on a machine writes it into the user's cache; a second process that imports
    at that moment reads half of it (``EOFError``).
    """
    if not hasattr(config, 'workerinput'):
        import yapf.yapflib.yapf_api  # noqa: F401


class RunClock:
    """Module ``time`` for mmengine's Runner, where no two runs start in the same second.

    mmengine names a run by that second, and keeps its logger, its visualizer and what it logs by
    that name: two tests within one second would share them.
    """

    def __init__(self) -> None:
        self.starts = itertools.count(int(time.time()))

    def time(self) -> float:
        return float(next(self.starts))

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def pytest_collection_finish() -> None:
    """Give each run a second of its own; collect no garbage among what is imported by now.

    mmengine collects garbage for each dataset that it builds; beside PyTorch and 4,000 tests
    each time takes most of a second.
    """
    if 'mmengine.runner.runner' in sys.modules:
        sys.modules['mmengine.runner.runner'].time = RunClock()
        # So long the garbage collection waits for each data worker of an abandoned run.
        sys.modules['torch.utils.data._utils'].MP_STATUS_CHECK_INTERVAL = 0.5
    gc.collect()
    gc.freeze()


def gray_level(index: int) -> int:
    """Return the brightness of frame ``index`` in a test video, which tells frames apart."""
    return 16 + 5 * (index % 44)


def write_gray_video(path: Path, num_frames: int, fps: int = 10, size: tuple[int, int] = (64, 48)
                     ) -> Path:
    """Write an H.264 file whose frame ``i`` is uniformly ``gray_level(i)``."""
    width, height = size
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        stream.options = {'crf': '0', 'g': '12', 'preset': 'ultrafast'}
        for index in range(num_frames):
            pixels = np.full((height, width, 3), gray_level(index), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode(None))
    return path


def frame_numbers(frames: np.ndarray) -> np.ndarray:
    """Return the numbers of frames (T, ...) of a gray video, modulo 44."""
    levels = frames.reshape(len(frames), -1).mean(axis=1)
    return np.round((levels - 16) / 5).astype(int)


@pytest.fixture
def uninitialized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build layers without drawing their first weights, where only their shapes count."""
    from torch.nn import init
    for name in ('uniform_', 'normal_', 'trunc_normal_', 'xavier_uniform_', 'kaiming_uniform_',
                 'kaiming_normal_'):
        monkeypatch.setattr(init, name, lambda tensor, *args, **options: tensor)


@pytest.fixture(autouse=True)
def no_default_scope() -> Iterator[None]:
    """Remove the scope that a Runner leaves behind: the next test would look there."""
    yield
    registry = sys.modules.get('mmengine.registry')
    if registry is not None:
        registry.DefaultScope._instance_dict.clear()


@pytest.fixture
def absent(monkeypatch):
    """Return a function that makes a module of a name seem absent."""
    find_spec = importlib.util.find_spec

    def pretend(missing: str) -> None:
        monkeypatch.setattr(importlib.util, 'find_spec',
                            lambda name: None if name == missing else find_spec(name))
    return pretend


@pytest.fixture(scope='session')
def write_video() -> Callable[..., Path]:
    """Return the function that writes a gray video."""
    return write_gray_video


@pytest.fixture(scope='session')
def read_frame_numbers() -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that tells the numbers of the frames of a gray video."""
    return frame_numbers


@pytest.fixture(scope='session')
def made_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
              ) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return ``made_once(name, fill)``: a folder that ``fill`` filled once in a test run.

    All workers read the same folder, which the first of them makes while the
    others wait. Tests must not change its files.
    """
    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, 'workerinput'):
        root = root.parent  # each worker has a folder of its own below it

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / f'shared_{name}', root / f'shared_{name}.done'
        with open(root / f'shared_{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()  # fails again where the first attempt failed
                fill(folder)
                done.touch()
        return folder
    return make


@pytest.fixture(scope='session')
def small_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames, 10 fps, 64 x 48 pixels."""
    return write_gray_video(tmp_path_factory.mktemp('videos') / 'small.mp4', 40)


@pytest.fixture(scope='session')
def timed_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray]]:
    """Every kind of video file with barcodes of time: name -> (file, times)."""
    return make_files(tmp_path_factory.mktemp('timed'))


@pytest.fixture
def write_annotation(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes ``{video: entry}`` as an annotation file."""
    def write(database: dict, name: str = 'annotations.json') -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({'database': database}))
        return path
    return write


@pytest.fixture(scope='session')
def thumos14_sample() -> Path:
    """Twelve real videos' annotation; see tests/data/thumos14_sample.README.md."""
    return REPOSITORY / 'tests' / 'data' / 'thumos14_sample.json'


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip('../shared/data, the folder of real data beside the repository, is absent')
    return SHARED_DATA

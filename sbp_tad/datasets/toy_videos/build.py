"""Write the toy dataset: mp4 files and their annotation.

The annotation is written last and names the settings and the version of the
generator. It shows that a set is complete and has the requested settings.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np

from sbp_tad.datasets.errors import DatasetError

from .motion import CLASS_NAMES, draw_track, plan_lives, plan_trimmed
from .scene import draw_frames
from .settings import ToySettings

ANNOTATION_NAME = 'annotations.json'
VIDEO_FOLDER = 'videos'
SUBSETS = ('training', 'test')
LIST_NAMES = {'training': 'train_list_videos.txt', 'test': 'val_list_videos.txt'}
# No B-frames: frame n is packet n, so all decoders count and seek alike.
# One thread and no lookahead: the bytes are reproducible (at 32 pixels x264's
# lookahead changed the bytes of about one video in a hundred).
ENCODER_OPTIONS = {'preset': 'veryfast', 'crf': '23', 'g': '48', 'bf': '0', 'threads': '1',
                   'rc-lookahead': '0', 'x264-params': 'mbtree=0:weightp=0'}


def build_toy_dataset(folder: Path, settings: ToySettings, workers: int = 1) -> bool:
    """Write ``annotations.json`` and ``videos/*.mp4``, unless they exist.

    With trimmed clips, write mmaction's lists too: ``train_list_videos.txt``
    and ``val_list_videos.txt`` hold one file of ``videos`` and its class per line.

    The files do not depend on the number of workers. Workers are threads,
    because the imports of a process would take longer than it saves.

    Args:
        folder: output folder, created if absent; toy videos in it are replaced.
        workers: number of videos drawn in parallel, at least 1.

    Returns:
        True if the set was written, False if a complete set with these
        settings exists already.

    Raises:
        DatasetError: ``workers`` is below 1, or the folder cannot be written to.
    """
    if workers < 1:
        raise DatasetError(f'Toy dataset: workers must be 1 or more, got {workers}.')
    if is_complete(folder, settings):
        return False
    try:
        _clear(folder)
        jobs = [(folder, settings, subset, index) for subset in SUBSETS
                for index in range(_num_videos(settings, subset))]
        with ThreadPoolExecutor(workers) as pool:
            database = dict(pool.map(lambda job: _write_toy_video(*job), jobs))
        if settings.trimmed:
            _write_lists(folder, database)
        text = json.dumps({**_header(settings), 'database': database}, indent=1)
        _write_whole(folder / ANNOTATION_NAME, text + '\n')
    except OSError as error:
        raise DatasetError(f'Cannot write the toy dataset to {folder}: {error}. '
                           'Choose a writable folder.') from error
    return True


def is_complete(folder: Path, settings: ToySettings) -> bool:
    """Return True if the folder holds the complete dataset of these settings."""
    try:
        content = json.loads((folder / ANNOTATION_NAME).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or {**content, **_header(settings)} != content:
        return False
    return all(_video_path(folder, video_id).is_file() for video_id in content['database'])


def _header(settings: ToySettings) -> dict[str, Any]:
    return {'version': generator_version(), 'settings': asdict(settings)}


def generator_version() -> str:
    """Return a digest of this package's source, so that a set of other code is not reused."""
    sources = sorted(Path(__file__).parent.glob('*.py'))
    digest = hashlib.sha256(b''.join(path.read_bytes() for path in sources))
    return f'toy-{digest.hexdigest()[:12]}'


def _num_videos(settings: ToySettings, subset: str) -> int:
    return settings.train_videos if subset == 'training' else settings.test_videos


def _video_path(folder: Path, video_id: str) -> Path:
    return folder / VIDEO_FOLDER / f'{video_id}.mp4'


def _clear(folder: Path) -> None:
    """Remove the annotation first, so that the set counts as incomplete, then the videos."""
    (folder / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
    for name in (ANNOTATION_NAME, *LIST_NAMES.values()):
        (folder / name).unlink(missing_ok=True)
    for subset in SUBSETS:
        for path in (folder / VIDEO_FOLDER).glob(f'toy_{subset}_[0-9]*.mp4*'):
            path.unlink()


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + '.part')
    part.write_text(text, encoding='utf-8')
    part.replace(path)


def _write_lists(folder: Path, database: dict[str, Any]) -> None:
    """Write the two lists of ``path label`` that mmaction's VideoDataset reads."""
    for subset, name in LIST_NAMES.items():
        lines = [f'{video_id}.mp4 {CLASS_NAMES.index(video["annotations"][0]["label"])}\n'
                 for video_id, video in database.items() if video['subset'] == subset]
        _write_whole(folder / name, ''.join(lines))


def _write_toy_video(folder: Path, settings: ToySettings, subset: str,
                     index: int) -> tuple[str, dict[str, Any]]:
    """Draw and write one video; return its id and its annotation entry."""
    key = [settings.seed, SUBSETS.index(subset), index]
    motion_rng, look_rng = (np.random.default_rng([*key, stream]) for stream in range(2))
    fps = settings.fps
    num_frames = round(motion_rng.uniform(settings.min_seconds, settings.max_seconds) * fps)
    lives = plan_trimmed(num_frames, CLASS_NAMES[index % len(CLASS_NAMES)]) \
        if settings.trimmed else plan_lives(motion_rng, num_frames, fps)
    track = draw_track(motion_rng, lives, num_frames, fps)
    video_id = f'toy_{subset}_{index:04d}'
    path = _video_path(folder, video_id)
    part = path.with_name(path.name + '.part')
    write_video(part, draw_frames(look_rng, track, settings.size, fps, settings.look), fps)
    part.replace(path)
    actions = [{'segment': [round(life.action_start / fps, 4), round(life.action_end / fps, 4)],
                'label': life.label} for life in lives if life.label is not None]
    return video_id, {'subset': subset, 'duration': round(num_frames / fps, 4), 'fps': fps,
                      'num_frames': num_frames, 'annotations': actions}


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Encode frames (H, W, 3) uint8 RGB, H and W even, as H.264 in an mp4 file."""
    with av.open(str(path), 'w', format='mp4') as container:
        stream = container.add_stream('libx264', rate=fps, options=ENCODER_OPTIONS)
        stream.pix_fmt = 'yuv420p'
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode(None))  # flush the encoder

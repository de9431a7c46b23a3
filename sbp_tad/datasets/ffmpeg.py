"""Re-encode videos and extract frames with ffmpeg, one process per video, resumable."""
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sbp_tad.datasets.errors import DatasetError

FRAME_TEMPLATE = 'img_%05d.jpg'  # what mmaction's RawFrameDecode reads by default


@dataclass(frozen=True)
class Conversion:
    """Settings of a conversion by ffmpeg.

    Args:
        fps: frame rate of the output; None keeps that of the video.
        short_side: pixels of the shorter side; None keeps the size.
        key_frame_every: frames between two key frames of a re-encoded video;
            after a seek decoding starts at a key frame.
        quality: ``-crf`` of H.264, lower is better; 18 is close to visually
            lossless.
        jpeg_quality: ``-q:v`` of frames, 2 (best) to 31.

    Raises:
        DatasetError: a value that is not above 0.
    """

    fps: float | None = None
    short_side: int | None = None
    key_frame_every: int = 48
    quality: int = 18
    jpeg_quality: int = 2

    def __post_init__(self) -> None:
        for name in ('fps', 'short_side', 'key_frame_every', 'jpeg_quality'):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise DatasetError(f'{name} must be above 0, got {value}.')

    def filters(self) -> list[str]:
        """Return the ``-vf`` option; sides are rounded down to even numbers, as H.264 requires."""
        short = self.short_side
        size = 'trunc(iw/2)*2:trunc(ih/2)*2' if short is None else \
            f"'if(lt(iw,ih),{short},-2)':'if(lt(iw,ih),-2,{short})'"
        rate = [] if self.fps is None else [f'fps={self.fps:g}']
        return ['-vf', ','.join([*rate, f'scale={size}'])]


def find_ffmpeg() -> str:
    """Return the path of the ffmpeg executable.

    Raises:
        DatasetError: ffmpeg is not on the PATH.
    """
    path = shutil.which('ffmpeg')
    if path is None:
        raise DatasetError('ffmpeg is not on the PATH; re-encoding videos and extracting frames '
                           'need it. Install it (`apt install ffmpeg` or `conda install '
                           'ffmpeg`), or request neither.')
    return path


def reencode(source: Path, target: Path, conversion: Conversion) -> bool:
    """Write an H.264 mp4 without sound; return False if ``target`` exists.

    Raises:
        DatasetError: ffmpeg is missing or fails; ``target`` is not created.
    """
    options = ['-an', *conversion.filters(), '-c:v', 'libx264', '-pix_fmt', 'yuv420p',
               '-crf', str(conversion.quality), '-g', str(conversion.key_frame_every)]
    return _convert(source, target, lambda part: [*options, '-f', 'mp4', str(part)])


def extract_frames(source: Path, target: Path, conversion: Conversion) -> bool:
    """Write a folder of ``img_00001.jpg`` and so on; return False if ``target`` exists.

    Raises:
        DatasetError: ffmpeg is missing or fails; ``target`` is not created.
    """
    def options(part: Path) -> list[str]:
        part.mkdir(parents=True)
        return [*conversion.filters(), '-q:v', str(conversion.jpeg_quality),
                str(part / FRAME_TEMPLATE)]
    return _convert(source, target, options)


def convert_all(convert: Callable[[Path, Path, Conversion], bool], files: Mapping[Path, Path],
                conversion: Conversion, jobs: int = 1) -> dict[Path, str]:
    """Convert every source to its target; a failure does not stop the other conversions.

    Args:
        convert: :func:`reencode` or :func:`extract_frames`.
        files: source -> target.
        conversion: settings of all conversions.
        jobs: number of parallel processes.

    Returns:
        Source -> error message, for each source that failed.

    Raises:
        DatasetError: ffmpeg is missing.
    """
    find_ffmpeg()
    failures: dict[Path, str] = {}

    def attempt(item: tuple[Path, Path]) -> None:
        try:
            convert(*item, conversion)
        except DatasetError as error:
            failures[item[0]] = str(error)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        list(pool.map(attempt, files.items()))
    return {source: failures[source] for source in files if source in failures}


def _convert(source: Path, target: Path, options: Callable[[Path], list[str]]) -> bool:
    """Run ffmpeg into a temporary name and rename the result when it is complete."""
    if target.exists():
        return False
    part = target.with_name(f'.{target.name}.part')
    _remove(part)
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [find_ffmpeg(), '-nostdin', '-v', 'error', '-y', '-i', str(source),
               '-map', '0:V:0', *options(part)]  # V: no cover picture
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors='replace')
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ['no message']
            raise DatasetError(f'{source}: ffmpeg fails with status {result.returncode} '
                               f'({lines[-1][:200]}). Replace the file.')
        part.rename(target)
    finally:
        _remove(part)
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

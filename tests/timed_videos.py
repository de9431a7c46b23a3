"""Videos whose frames show their own time: a barcode of the second in units of 10 ms."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

NUM_BITS = 16
SIZE = (128, 32)  # width, height


def picture(seconds: float) -> np.ndarray:
    """Pixels (H, W, 3) with one column per bit of the time."""
    bits = (round(100 * seconds) >> np.arange(NUM_BITS)) & 1
    row = np.repeat(255 * bits.astype(np.uint8), SIZE[0] // NUM_BITS)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (*SIZE[::-1], 3)))


def seconds_of(frame: np.ndarray) -> float:
    """Read the time back from pixels (H, W, 3) of any size."""
    height, width = frame.shape[:2]
    places = ((np.arange(NUM_BITS) + 0.5) * width / NUM_BITS).astype(int)
    bits = frame[height // 2, places].mean(axis=-1) > 127
    return float((bits << np.arange(NUM_BITS)).sum() / 100)


def write_timed(path: Path, seconds: Sequence[float], codec: str = 'libx264',
                tick: Fraction = Fraction(1, 1000), rate: Any = 25, b_frames: int = 0,
                audio_seconds: float = 0.0, shown: Sequence[float] | None = None,
                container_options: dict[str, str] | None = None, file_format: str | None = None,
                **options: str) -> Path:
    """Write one frame per presentation time.

    Args:
        seconds: presentation times.
        tick: time base of the encoder.
        audio_seconds: length of a silent audio track from second 0; 0 for none.
        shown: times that the frames show, if not their presentation times.
    """
    with av.open(str(path), 'w', format=file_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = SIZE
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.codec_context.time_base = tick
        bf = {} if codec in ('libvpx', 'mjpeg') else {'bf': str(b_frames)}
        stream.options = {**bf, 'g': '12', **options}
        if audio_seconds:
            sound = container.add_stream('aac', rate=8000)
            for _ in range(int(audio_seconds * 8000 / 1024)):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
                frame.sample_rate = 8000
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        for time, content in zip(seconds, seconds if shown is None else shown):
            frame = av.VideoFrame.from_ndarray(picture(content), format='rgb24')
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def expected_seconds(times: Sequence[float], seconds: Sequence[float]) -> np.ndarray:
    """Times of the frames that a player shows at ``seconds``: the last one up to each."""
    places = np.searchsorted(np.asarray(times) - 1e-6, seconds, side='right') - 1
    return np.asarray(times)[places.clip(0)]


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    """Split mp4 content into (name, box with its header)."""
    found, place = [], 0
    while place < len(content):
        size = int.from_bytes(content[place:place + 4], 'big')
        found.append((content[place + 4:place + 8], content[place:place + size]))
        place += size
    return found


def cover_first(path: Path, seconds: Sequence[float]) -> Path:
    """Write a file whose first video stream is a cover picture, in mp4 marked as one."""
    with av.open(str(path), 'w') as container:
        cover = container.add_stream('mjpeg', rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, 'yuvj420p'
        cover.disposition = Disposition.attached_pic
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format='rgb24')
        frame.pts = 0
        container.mux(cover.encode(frame))
        container.mux(cover.encode(None))
        for time in seconds:
            frame = av.VideoFrame.from_ndarray(picture(time), format='rgb24')
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if path.suffix != '.mp4':
        return path
    parts = dict(boxes(path.read_bytes()))
    inner = sorted(boxes(parts[b'moov'][8:]), key=lambda box: box[0] == b'trak')  # udta before
    moov = b''.join(box for _, box in inner)
    parts[b'moov'] = (len(moov) + 8).to_bytes(4, 'big') + b'moov' + moov
    path.write_bytes(b''.join(parts.values()))  # mdat is before moov and stays in place
    return path


def joined(parts: Sequence[Path], path: Path) -> Path:
    """Join files byte by byte, as recorders do with transport streams."""
    path.write_bytes(b''.join(part.read_bytes() for part in parts))
    return path


# ------------------------------------------------------------ the kinds of files
RNG = np.random.default_rng(0)
PHONE = np.round(np.cumsum(RNG.choice([0.03, 0.04, 0.07, 0.2], 60)), 2)
PHONE -= PHONE[0]
SCREEN = np.round(np.cumsum(RNG.choice([0.02, 0.02, 0.02, 1.0], 60)), 2)
SCREEN -= SCREEN[0]
STEADY = np.arange(75) / 25
GAP = np.r_[np.arange(30), np.arange(70, 100)] / 25
LATE = 1.6 + np.arange(50) / 25
SLOT = Fraction(1, 25)


# Names of all files of make_files.
NAMES = ['steady.mp4', 'steady_b.mkv', 'fragments.mp4', 'phone.mp4', 'phone_b.mp4', 'phone_b.mkv',
         'screen.webm', 'screen.mp4', 'gap.mp4', 'gap.flv', 'gap.ts', 'steady.mpg',
         'gap_mpeg4.avi', 'gap_mpeg4_b.avi', 'gap_h264_b.avi', 'gap_mjpeg.avi', 'gap_b.asf',
         'late_h264.asf', 'late.mp4', 'late.mkv', 'late_alone.webm', 'raw_30.h264', 'raw_12.hevc',
         'raw.m2v', 'raw_24.m4v', 'cover.mp4', 'cover.mkv', 'joined.ts']


def make_files(folder: Path) -> dict[str, tuple[Path, np.ndarray]]:
    """Write every kind of file: name -> (file, the second at which a player shows each frame)."""
    files: dict[str, tuple[Path, np.ndarray]] = {}

    def add(name: str, times: np.ndarray, written: np.ndarray | None = None, **options: Any
            ) -> None:
        path = write_timed(folder / name, times if written is None else written, shown=times,
                           **options)
        files[name] = path, times

    add('steady.mp4', STEADY)
    add('steady_b.mkv', STEADY, b_frames=2)
    add('fragments.mp4', STEADY, b_frames=2,  # all time stamps are later by two frames
        container_options={'movflags': 'frag_keyframe+empty_moov'})
    add('phone.mp4', PHONE)
    add('phone_b.mp4', PHONE, b_frames=2)
    add('phone_b.mkv', PHONE, b_frames=2)
    add('screen.webm', SCREEN, codec='libvpx')
    add('screen.mp4', SCREEN, b_frames=2)
    add('gap.mp4', GAP)
    add('gap.flv', GAP)
    add('gap.ts', GAP, written=1.4 + GAP, b_frames=2, file_format='mpegts')
    add('steady.mpg', STEADY, codec='mpeg2video', tick=SLOT, file_format='mpeg')
    add('gap_mpeg4.avi', GAP, codec='mpeg4', tick=SLOT)
    add('gap_mpeg4_b.avi', GAP, codec='mpeg4', tick=SLOT, b_frames=2)
    add('gap_h264_b.avi', GAP, tick=SLOT, b_frames=2)
    add('gap_mjpeg.avi', GAP, codec='mjpeg', tick=SLOT)
    add('gap_b.asf', GAP, codec='mpeg4', b_frames=2)
    add('late_h264.asf', LATE, b_frames=2, audio_seconds=3.0)
    add('late.mp4', LATE, b_frames=2, audio_seconds=3.0)
    add('late.mkv', LATE, audio_seconds=3.0)
    add('late_alone.webm', LATE, codec='libvpx')
    add('raw_30.h264', STEADY * 25 / 30, tick=Fraction(1, 30), rate=30, b_frames=2)
    add('raw_12.hevc', STEADY[:24] * 25 / 12, codec='libx265', tick=Fraction(1, 12), rate=12,
        **{'x265-params': 'log-level=none'})
    add('raw.m2v', STEADY, codec='mpeg2video', tick=SLOT, file_format='mpeg2video')
    add('raw_24.m4v', STEADY * 25 / 24, codec='mpeg4', tick=Fraction(1, 24), rate=24,
        file_format='m4v')
    for name in ('cover.mp4', 'cover.mkv'):
        files[name] = cover_first(folder / name, PHONE), PHONE
    part = write_timed(folder / 'part.ts', 1.4 + STEADY, shown=STEADY, file_format='mpegts')
    other = write_timed(folder / 'other.ts', 1.4 + STEADY, shown=3 + STEADY, file_format='mpegts')
    files['joined.ts'] = joined([part, other], folder / 'joined.ts'), np.r_[STEADY, 3 + STEADY]
    assert list(files) == NAMES
    return files

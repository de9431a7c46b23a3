"""Files of the report page: the fixed files of this package, and the data as a script.

A page that is opened from disk may not fetch files, so the data are a script.
No label or name becomes part of an HTML file; the scripts of the page insert
them as text only.
"""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sbp_tad.visualization.errors import VisualizationError

ASSET_SUFFIXES = ('.css', '.js')


def write_page(out: str | Path, content: Mapping[str, Any],
               video_links: Mapping[str, str] | None = None) -> Path:
    """Write ``index.html`` and ``assets/`` into a folder, which may exist.

    Args:
        out: the folder.
        content: from ``report_content``.
        video_links: URL of the file of each video, from ``link_videos``; videos
            without a file get a time cursor.

    Returns:
        The path of ``index.html``.

    Raises:
        VisualizationError: a file cannot be written.
    """
    links = video_links or {}
    videos = [dict(video, file=links.get(video['name'])) for video in content['videos']]
    text = json.dumps(dict(content, videos=videos), separators=(',', ':'))
    # a browser parses JSON in a string several times faster than a script
    data = f"'use strict';\nglobalThis.reportData = JSON.parse({json.dumps(text)});\n"
    assets = Path(out) / 'assets'
    try:
        assets.mkdir(parents=True, exist_ok=True)
        for source in files(__package__).iterdir():
            if source.name.endswith(ASSET_SUFFIXES):
                (assets / source.name).write_bytes(source.read_bytes())
        (assets / 'data.js').write_text(data, encoding='utf8')
        page = Path(out) / 'index.html'
        page.write_bytes((files(__package__) / 'index.html').read_bytes())
    except OSError as error:
        raise VisualizationError(f'Cannot write the report into {out}: {error.strerror}. Give a '
                                 'folder that can be written.') from error
    return page


def link_videos(out: str | Path, folder: str | Path, video_files: Mapping[str, Path],
                copy: bool = False) -> dict[str, str]:
    """Return URLs of the existing video files, relative to the page.

    Args:
        out: the folder of the page.
        folder: of the videos; files outside of it are left out.
        video_files: file of each video, from ``find_files``.
        copy: copy them to ``out/videos``, so that the folder can be moved.

    Raises:
        VisualizationError: a file cannot be copied.
    """
    root, links = Path(os.path.abspath(folder)), {}
    for video_id, path in video_files.items():
        path = Path(os.path.abspath(path))  # not resolved: many data sets consist of symbolic links
        if path.is_relative_to(root) and path.is_file():
            if copy:
                path = _copy(path, Path(out).absolute() / 'videos' / path.relative_to(root))
            relative = os.path.relpath(path, os.path.abspath(out))
            links[video_id] = quote(Path(relative).as_posix())
    return links


def _copy(source: Path, target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    except OSError as error:
        raise VisualizationError(f'Cannot copy {source} to {target}: {error.strerror}. Leave out '
                                 '--copy-videos to link the original file.') from error
    return target

"""File names of videos: from a video id by ``filename_template``, and back."""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from string import Formatter

from sbp_tad.datasets.errors import DatasetError

FIELD = 'video_id'
FEATURE_SUFFIXES = ('.npy', '.npz', '.pt', '.pth', '.h5', '.hdf5', '.csv')
VIDEO_SUFFIXES = ('.mp4', '.mkv', '.avi', '.webm', '.mov', '.m4v', '.mpg', '.mpeg', '.ts',
                  '.wmv', '.flv', '.3gp', '.ogv', '.264', '.265', '.h264', '.h265', '.hevc', '.m2v')


def check_template(template: str) -> str:
    """Return a ``filename_template`` that is valid.

    One without ``{video_id}`` is valid too: a file that holds all videos.

    Raises:
        DatasetError: it has another field, or a single brace.
    """
    try:
        fields = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError:
        fields = {'{'}
    if not fields <= {FIELD}:
        raise DatasetError(f'filename_template may have {{video_id}} and no other field, got '
                           f"{template!r}. Write for example '{{video_id}}.mp4'.")
    return template


def listed_names(names: Collection[str] | str, folder: str | PurePath | None = None
                 ) -> tuple[str, ...]:
    """Return names of videos, with the lines of a ``.txt`` in place of its path.

    Args:
        names: one name, several, or paths of text files with a name per line.
        folder: ``data_root``, where a relative path begins.

    Raises:
        DatasetError: a text file does not exist.
    """
    found: list[str] = []
    for name in (names, ) if isinstance(names, str) else names:
        if not name.endswith('.txt'):
            found.append(name)
            continue
        path = Path(folder or '') / name
        if not path.is_file():
            raise DatasetError(f'{path}: no such list of videos. Correct the path in '
                               'excluded_videos, which begins at data_root.')
        found += path.read_text(encoding='utf-8').split()
    return tuple(found)


def with_suffix(template: str, suffix: str) -> str:
    """Return a template with another suffix, which may be empty."""
    own = _suffix(template)
    return (template[:-len(own)] if own else template) + suffix


def video_id_of(path: str | PurePath, template: str, folder: str | PurePath | None = None) -> str:
    """Return the id of the video in a file, which any suffix may end.

    A file whose name does not follow the template gets its name without suffix
    as id.

    Args:
        path: the file, or folder of frames.
        template: ``filename_template`` of the dataset.
        folder: folder of the videos; the id of a file below it includes the
            folders in between. None if the file was given by itself.
    """
    path = PurePath(path)
    suffix = _suffix(template)
    named = path.with_suffix('') if suffix and path.suffix else path
    parts = named.relative_to(folder).parts if folder is not None else named.parts
    inner = with_suffix(template, '')
    if folder is not None and (found := _match('/'.join(parts), inner)):
        return found
    for one in _without_folders(inner):
        count = one.count('/') + 1
        found = _match('/'.join(parts[-count:]), one)
        if found and len(parts) >= count:
            return '/'.join((*(parts[:-count] if folder is not None else ()), found))
    return '/'.join(parts) if folder is not None else parts[-1]


def other_names(template: str, video_id: str) -> Iterator[str]:
    """Yield the names, without suffix, under which the file of a video may lie instead.

    These are the name by the template, the id, and ActivityNet's ``v_`` with
    the id.
    """
    yield PurePosixPath(with_suffix(template, '').format(video_id=video_id)).name
    yield from (video_id, f'v_{video_id}', video_id.removeprefix('v_'))


def template_of(name: str, video_id: str) -> str | None:
    """Return the template by which a file has this name; None if the id is not in it."""
    return name.replace(video_id, f'{{{FIELD}}}', 1) if video_id in name else None


def like_named(path: str | PurePath, video_id: str, suffixes: Iterable[str]) -> str:
    """Say which file beside a missing one has the name of its video in another form.

    Args:
        path: the missing file, or folder of frames.
        video_id: its video.
        suffixes: those of the files to look for; ``''`` for folders of frames.

    Returns:
        A sentence that begins with a space; empty if there is no such file, or none is missing.
    """
    path, name = Path(path), PurePosixPath(video_id).name
    if _exists(path):
        return ''
    own = template_of(path.name, name) or path.name
    names = dict.fromkeys((path.stem, *other_names(own, name)))
    endings = dict.fromkeys(ending for suffix in (path.suffix, *suffixes)
                            for ending in (suffix, suffix.upper()))
    others = (path.with_name(stem + ending) for stem in names for ending in endings)
    other = next((other for other in others if other != path and _exists(other)), None)
    if other is None:
        return ''
    template = template_of(other.name, name)
    return f' {other.name} exists.' + (
        f' Its name follows filename_template={template!r}.' if template else '')


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _suffix(template: str) -> str:
    """Return the suffix that a template ends with, empty for folders of frames."""
    return PurePosixPath('x' + template.rpartition('}')[2]).suffix


def _without_folders(template: str) -> Iterator[str]:
    """Yield the template, then without its first folder, and so on."""
    while f'{{{FIELD}' in template:
        yield template
        template = template.partition('/')[2]


def _match(name: str, template: str) -> str | None:
    if f'{{{FIELD}' not in template:
        return None
    pattern = ''
    for literal, field, spec, conversion in Formatter().parse(template):
        if spec or conversion:
            return None
        pattern += re.escape(literal)
        if field is not None:
            pattern += f'(?P={FIELD})' if f'(?P<{FIELD}>' in pattern else f'(?P<{FIELD}>.+)'
    found = re.fullmatch(pattern, name)
    return found[FIELD] if found else None

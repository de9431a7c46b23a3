"""Matching of names that differ only in prefix, extension, case or punctuation."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

EXTENSIONS = ('mp4', 'avi', 'mkv', 'webm', 'mov', 'm4v', 'flv', 'mpg', 'mpeg', 'wmv', 'ts', 'mts',
              '3gp', 'npy', 'npz', 'pt', 'pth', 'pkl', 'json', 'csv', 'h5', 'hdf5')
_EXTENSION = re.compile(rf'\.({"|".join(EXTENSIONS)})$', re.IGNORECASE)
_SHORTEST_COMMON_PART = 3  # characters; shorter ids are parts of others by chance
_NUM_COMPARED = 50  # ids in which a common prefix or suffix is searched


def plain_video_id(video_id: str) -> str:
    """Return the id without folder, file extension, ``v_`` prefix and case."""
    name = re.split(r'[\\/]', video_id.strip())[-1]
    name = _EXTENSION.sub('', name).casefold()
    return name[2:] if name.startswith('v_') else name


def plain_label(label: str) -> str:
    """Return the label without case, spaces and punctuation."""
    return re.sub(r'[\W_]+', '', label.casefold())


def match_videos(found: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Return the known id for each found id that is not known itself, if there is one.

    Ids match if they are equal without folder, extension, ``v_`` prefix and
    case, or else without a prefix and suffix that most of the others share.
    """
    unknown = [name for name in found if name not in known]
    matches = _match(unknown, known, plain_video_id)
    rest = [name for name in unknown if name not in matches]
    affixes = _common_affixes(rest, known)
    if affixes is not None:
        by_id = {affixes[0] + name + affixes[1]: name for name in known}
        cut = {name: by_id[name] for name in rest if name in by_id}
        if 2 * len(cut) > len(rest):
            matches.update(cut)
    return matches


def match_labels(found: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Return the known label for each found label that differs only in case or punctuation."""
    return _match([name for name in found if name not in known], known, plain_label)


def _match(unknown: Iterable[str], known: Collection[str], plain: Callable[[str], str]
           ) -> dict[str, str]:
    counts = Counter(map(plain, known))
    by_plain = {plain(name): name for name in known if counts[plain(name)] == 1}
    return {name: by_plain[plain(name)] for name in unknown if plain(name) in by_plain}


def _common_affixes(names: list[str], known: Collection[str]) -> tuple[str, str] | None:
    """Return the most frequent text before and after a known id inside the names."""
    long_enough = [name for name in known if len(name) >= _SHORTEST_COMMON_PART]
    found: Counter[tuple[str, str]] = Counter()
    for name in names[:_NUM_COMPARED]:
        inside = [other for other in long_enough if other in name and other != name]
        if inside:
            before, _, after = name.partition(max(inside, key=len))
            found[before, after] += 1
    return found.most_common(1)[0][0] if found else None

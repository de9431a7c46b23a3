"""Provenance of results: software, source tree, data. Standard library only."""
from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'av', 'decord',
            'opencv-python', 'opencv-contrib-python', 'scipy')
FILE_NAME = 'provenance.json'
VARIABLES = ('OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES', 'CUBLAS_WORKSPACE_CONFIG', 'WORLD_SIZE')
HASH_BLOCK_BYTES = 1 << 20
GIT_SECONDS = 10


def run_facts() -> dict[str, Any]:
    """Return command, time, environment and source tree of this process."""
    return dict(command=sys.argv, time=datetime.now(timezone.utc).isoformat(timespec='seconds'),
                environment=environment(), git=git_state())


def add_provenance(folder: str | Path, name: str, **facts: Any) -> None:
    """Write the provenance of the results in a folder to ``provenance.json`` there.

    Args:
        folder: folder of the results; created if absent.
        name: name of the entry; it replaces an entry with this name.
        facts: further facts beside :func:`run_facts`.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = Path(folder) / FILE_NAME
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):  # absent, or incomplete after a kill
        entries = {}
    entries[name] = dict(run_facts(), **facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1, default=str) + '\n', encoding='utf-8')


def environment() -> dict[str, Any]:
    """Return Python, machine, package versions and variables that can change results."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts: dict[str, Any] = dict(
        python=platform.python_version(), platform=platform.platform(), cpus=os.cpu_count(),
        packages=versions,
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ})
    torch = sys.modules.get('torch')  # not imported for this purpose alone
    if torch is not None:
        facts['threads'] = torch.get_num_threads()
        facts['devices'] = [torch.cuda.get_device_name(index)
                            for index in range(torch.cuda.device_count())]
    return facts


def git_state(folder: Path | None = None) -> dict[str, Any] | None:
    """Return the commit of the source tree and the changed files; None without a tree.

    Args:
        folder: root of the tree; by default the parent of this package.
    """
    folder = folder or Path(__file__).parents[1]
    if not (folder / '.git').exists():  # an installed package may lie inside another repository
        return None
    commit = _git(folder, 'rev-parse', 'HEAD')
    changed = _git(folder, 'status', '--porcelain', '--untracked-files=no')
    if commit is None or changed is None:
        return None
    return dict(commit=commit.strip(), changed=[line[3:] for line in changed.splitlines()])


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def file_fingerprint(path: str | Path) -> dict[str, Any] | None:
    """Return path, size and SHA-256 of a file; None if it does not exist."""
    path = Path(path)
    return dict(path=str(path), bytes=path.stat().st_size, sha256=file_sha256(path)) \
        if path.is_file() else None


def list_fingerprint(paths: Iterable[str]) -> dict[str, Any]:
    """Return number, total bytes and a SHA-256 of names and sizes; files are not read.

    A missing file has the size -1; a folder has the size of its entry.
    """
    sizes = {path: os.stat(path).st_size if os.path.exists(path) else -1
             for path in sorted(set(paths))}
    listing = ''.join(f'{os.path.basename(path)} {size}\n' for path, size in sizes.items())
    return dict(files=len(sizes), missing=sum(size < 0 for size in sizes.values()),
                bytes=sum(size for size in sizes.values() if size > 0),
                sha256=hashlib.sha256(listing.encode()).hexdigest())


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(['git', '-C', str(folder), *arguments], capture_output=True,
                              text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, a slow disk
        return None
    return done.stdout

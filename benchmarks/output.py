"""Files of figures that the benchmarks write."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError


def write_json(path: Path, content: Any) -> None:
    """Write figures in full precision.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise BenchmarkError(f'Cannot write the results to {path}: {error.strerror}. Give a file '
                             'in an existing folder.') from error

"""Fixtures that write input files and read the converted annotation."""
from __future__ import annotations

import json

import pytest

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets.formats.rows import to_database


@pytest.fixture
def write(tmp_path):
    """Return a function that writes text, or JSON of other content, to a file."""
    def write(content, name):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path
    return write


@pytest.fixture
def back(tmp_path):
    """Return a function that writes rows as an annotation and reads it as the dataset does."""
    def back(rows, subset='training'):
        path = tmp_path / 'out.json'
        path.write_text(json.dumps(to_database(rows, subset)))
        return read_annotations(path)
    return back

"""Encoding of text files of users: UTF-8, or UTF-16 with its byte order mark."""
from __future__ import annotations

from pathlib import Path

SAVE_AS_UTF8 = 'Save it as UTF-8; spreadsheets call this "CSV UTF-8"'
_UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')


def text_encoding(path: str | Path) -> str:
    """Return the encoding of a text file: UTF-16 if it begins with that mark, else UTF-8.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, 'rb') as file:
        return _encoding(file.read(2))


def decode_text(content: bytes) -> str:
    """Decode the content of a text file, see :func:`text_encoding`.

    Raises:
        UnicodeDecodeError: another encoding.
    """
    return content.decode(_encoding(content[:2]))


def _encoding(start: bytes) -> str:
    return 'utf-16' if start in _UTF16_MARKS else 'utf-8-sig'

"""XML parser that keeps line numbers and refuses document types."""
from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import reading

LINE = 'line of the file'  # attribute name that cannot occur in an XML file


def parse_xml(path: str | Path) -> Element:
    """Parse an XML file into a tree whose elements have their line as attribute ``LINE``.

    A document type can declare entities, which can expand a small file beyond
    all memory or read other files. It is refused.

    Raises:
        DatasetError: unreadable, not XML, or with a document type.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {**attributes, LINE: str(parser.CurrentLineNumber)})

    def refuse(*_: Any) -> None:
        raise DatasetError(
            f'{path}, line {parser.CurrentLineNumber}: a document type (DTD) is not accepted, '
            'because it may declare entities. ELAN writes none; remove it.')

    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    with reading(path):
        content = Path(path).read_bytes()
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DatasetError(f'{path}, line {error.lineno}: not XML ({error}).') from error
    return builder.close()


def line_of(path: str | Path, element: Element) -> str:
    """Return 'file, line n' of an element, for messages."""
    return f'{path}, line {element.get(LINE)}'

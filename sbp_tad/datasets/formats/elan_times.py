"""Times of ELAN annotations: time slots, interpolated slots and dependent annotations.

EAF format 3.0, https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf.
Three kinds of annotations have no time of their own. ELAN shows and exports
them with these times, in whole milliseconds:

* A time subdivision divides its parent by time slots. Slots without a value
  lie evenly between their neighbours with one.
* A symbolic subdivision divides its parent evenly, in the order of
  ``PREVIOUS_ANNOTATION``.
* A symbolic association has the time of its parent.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.xml_lines import line_of

Span = tuple[float, float]


class AnnotationTimes:
    """Start and end in milliseconds of all annotations of an ELAN document.

    Args:
        path: the file, for messages.
        root: its ``ANNOTATION_DOCUMENT``.

    Raises:
        DatasetError: a time is not a whole number.
    """

    def __init__(self, path: str | Path, root: Element) -> None:
        self.path = path
        self.slots = {str(slot.get('TIME_SLOT_ID')): milliseconds(value, line_of(path, slot))
                      for slot in root.iterfind('TIME_ORDER/TIME_SLOT')
                      if (value := slot.get('TIME_VALUE')) is not None}
        self.spans: dict[Element, Span] = {}
        self.places: dict[Element, tuple[str, int, int]] = {}  # parent, place, siblings
        self.by_id: dict[str, Element | None] = {}  # None: several have the id
        subdivisions = {kind.get('LINGUISTIC_TYPE_ID') for kind in root.iterfind('LINGUISTIC_TYPE')
                        if kind.get('CONSTRAINTS') == 'Symbolic_Subdivision'}
        for tier in root.iterfind('TIER'):
            for each in tier.iterfind('ANNOTATION/*'):
                key = str(each.get('ANNOTATION_ID'))
                self.by_id[key] = None if key in self.by_id else each
            self._read_aligned(tier)
            self._read_references(tier, tier.get('LINGUISTIC_TYPE_REF') in subdivisions)

    def of(self, annotation: Element) -> Span | None:
        """Return (start, end) in milliseconds; None if the document does not say."""
        places: list[list[int]] = []
        ancestor: Element | None = annotation
        while ancestor in self.places and len(places) <= len(self.places):
            parent, *place = self.places[ancestor]
            places.append(place)
            ancestor = self.by_id.get(parent)
        if ancestor not in self.spans:
            return None
        start, end = self.spans[ancestor]
        for index, siblings in reversed(places):
            length = end - start
            start, end = (start + round(length * (index + step) / siblings) for step in (0, 1))
        return start, end

    def _read_aligned(self, tier: Element) -> None:
        """Read the annotations of a tier with time slots, also interpolated ones."""
        aligned = list(tier.iterfind('ANNOTATION/ALIGNABLE_ANNOTATION'))
        ends = {str(each.get('TIME_SLOT_REF1')): str(each.get('TIME_SLOT_REF2'))
                for each in aligned}
        slots = {**self.slots, **_interpolate(self.slots, ends)}
        for each in aligned:
            start, end = (slots.get(str(each.get(f'TIME_SLOT_REF{number}'))) for number in (1, 2))
            if start is not None and end is not None:
                self.spans[each] = start, end

    def _read_references(self, tier: Element, is_subdivision: bool) -> None:
        """Read the annotations of a tier that refer to others."""
        families: dict[str, list[Element]] = defaultdict(list)
        for each in tier.iterfind('ANNOTATION/REF_ANNOTATION'):
            families[str(each.get('ANNOTATION_REF'))].append(each)
        for parent, children in families.items():
            divided = is_subdivision or any(each.get('PREVIOUS_ANNOTATION') for each in children)
            for place, child in enumerate(_order(children)):
                self.places[child] = (parent, place, len(children)) if divided else (parent, 0, 1)


def milliseconds(text: str, where: str) -> int:
    """Parse whole milliseconds.

    Raises:
        DatasetError: not a whole number.
    """
    try:
        return int(text)
    except ValueError as error:
        raise DatasetError(f'{where}: expected whole milliseconds, got {text!r}.') from error


def _interpolate(slots: dict[str, int], ends: dict[str, str]) -> dict[str, float]:
    """Return times of slots without a value, evenly spaced between those with one.

    Args:
        slots: slots with a value.
        ends: end slot of an annotation by its start slot.
    """
    found: dict[str, float] = {}
    for first in ends:
        if first in slots and ends[first] not in slots:
            chain = [first]
            while chain[-1] in ends and len(chain) <= len(ends):
                chain.append(ends[chain[-1]])
                if chain[-1] in slots:
                    step = (slots[chain[-1]] - slots[first]) / (len(chain) - 1)
                    found.update({slot: round(slots[first] + step * place)
                                  for place, slot in enumerate(chain[1:-1], 1)})
                    break
    return found


def _order(siblings: Sequence[Element]) -> list[Element]:
    """Return siblings in the order of their ``PREVIOUS_ANNOTATION``."""
    ordered: list[Element] = []
    rest = list(siblings)
    while rest:
        last = ordered[-1].get('ANNOTATION_ID') if ordered else None
        following = next((each for each in rest if (each.get('PREVIOUS_ANNOTATION') or None)
                          == last), rest[0])
        rest.remove(following)
        ordered.append(following)
    return ordered

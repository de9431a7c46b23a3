#!/usr/bin/env python
"""Draw the diagrams of the documentation: ``python docs/figures/draw.py``.

Each figure is an SVG beside this file. Blue is the forward pass, orange the
backward pass, grey what is not kept in memory.
"""
from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
FORWARD, BACKWARD, GREY, INK = '#2f6db5', '#d9730d', '#c3c8ce', '#1f2933'
PALE_FORWARD, PALE_BACKWARD, PALE_GREY = '#e3edf8', '#fdeedd', '#f2f4f6'
MARKER = ("<marker id='{name}' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='12' "
          "markerHeight='12' markerUnits='userSpaceOnUse' orient='auto-start-reverse'>"
          "<path d='M0 0 10 5 0 10z' fill='{colour}'/></marker>")
FONT = "font-family='Helvetica, Arial, sans-serif'"


class Figure:
    """A drawing of a fixed size on a white ground; coordinates are pixels.

    Args:
        width, height: of the drawing.
        title: read aloud by screen readers.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size = width, height
        markers = ''.join(MARKER.format(name=name, colour=colour) for name, colour in (
            ('f', FORWARD), ('b', BACKWARD), ('g', GREY), ('i', INK)))
        self.parts = [f'<title>{escape(title)}</title>', f'<defs>{markers}</defs>',
                      f"<rect width='{width}' height='{height}' fill='#fff'/>"]

    def box(self, x: float, y: float, width: float, height: float, fill: str = '#fff',
            stroke: str = INK, dash: bool = False, radius: float = 4) -> None:
        """Draw a rectangle from its upper left corner."""
        dashes = " stroke-dasharray='4 3'" if dash else ''
        self.parts.append(f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' "
                          f"rx='{radius}' fill='{fill}' stroke='{stroke}' "
                          f"stroke-width='1.4'{dashes}/>")

    def text(self, x: float, y: float, words: str, size: int = 13, colour: str = INK,
             anchor: str = 'middle', bold: bool = False) -> None:
        """Write one line; ``y`` is its base line."""
        weight = " font-weight='bold'" if bold else ''
        self.parts.append(f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size}' fill='{colour}' "
                          f"text-anchor='{anchor}'{weight}>{escape(words)}</text>")

    def arrow(self, x1: float, y1: float, x2: float, y2: float, kind: str = 'f',
              width: float = 1.8, dash: bool = False) -> None:
        """Draw a straight arrow: f forward, b backward, g grey, i ink."""
        colour = dict(f=FORWARD, b=BACKWARD, g=GREY, i=INK)[kind]
        dashes = " stroke-dasharray='4 3'" if dash else ''
        self.parts.append(f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' "
                          f"stroke='{colour}' stroke-width='{width}' "
                          f"marker-end='url(#{kind})'{dashes}/>")

    def labelled(self, x: float, y: float, width: float, height: float, *lines: str,
                 fill: str = '#fff', stroke: str = INK, size: int = 13, dash: bool = False
                 ) -> None:
        """Draw a box with centred lines of text."""
        self.box(x, y, width, height, fill, stroke, dash)
        first = y + height / 2 - (len(lines) - 1) * 8.5 + 4.5
        for number, line in enumerate(lines):
            self.text(x + width / 2, first + 17 * number, line, size)

    def write(self, name: str) -> None:
        """Write the file NAME.svg beside this program."""
        width, height = self.size
        head = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
                f"width='{width}' height='{height}' role='img'>")
        (HERE / f'{name}.svg').write_text('\n'.join([head, *self.parts, '</svg>']) + '\n')


def filmstrip(figure: Figure, x: float, y: float, kept: set[int], count: int = 8,
              width: float = 40, gap: float = 8, height: float = 34) -> list[float]:
    """Draw clips in a row, the kept ones orange; return their centres."""
    centres = []
    for clip in range(count):
        left = x + clip * (width + gap)
        is_kept = clip in kept
        figure.box(left, y, width, height, PALE_BACKWARD if is_kept else PALE_GREY,
                   BACKWARD if is_kept else '#8a939c')
        figure.text(left + width / 2, y + height / 2 + 5, str(clip + 1))
        centres.append(left + width / 2)
    return centres


def legend(figure: Figure, x: float, y: float) -> None:
    """Explain the colours in one line."""
    figure.arrow(x, y, x + 26, y)
    figure.text(x + 32, y + 4, 'forward', 12, anchor='start')
    figure.arrow(x + 120, y, x + 94, y, 'b')
    figure.text(x + 126, y + 4, 'backward', 12, anchor='start')
    figure.box(x + 196, y - 7, 18, 14, PALE_BACKWARD, BACKWARD)
    figure.text(x + 220, y + 4, 'activations cached', 12, anchor='start')
    figure.box(x + 344, y - 7, 18, 14, PALE_GREY, '#8a939c', dash=True)
    figure.text(x + 368, y + 4, 'nothing cached', 12, anchor='start')


def draw_pipeline() -> None:
    """Draw the way of a video through a detector, with SBP in the backbone."""
    figure = Figure(920, 330, 'A video becomes windows of clips. The backbone encodes every clip '
                              'and backpropagates a random quarter of them. Neck and head find '
                              'segments, which are scored by mAP.')
    kept = {2, 5}
    figure.text(20, 30, 'window of a video, cut into clips', 13, anchor='start', bold=True)
    centres = filmstrip(figure, 20, 44, kept)
    for clip, centre in enumerate(centres):
        is_kept = clip in kept
        figure.arrow(centre - (6 if is_kept else 0), 82, centre - (6 if is_kept else 0), 116)
        if is_kept:
            figure.arrow(centre + 6, 116, centre + 6, 82, 'b')
        figure.box(centre - 20, 118, 40, 62, PALE_BACKWARD if is_kept else PALE_GREY,
                   BACKWARD if is_kept else '#8a939c', dash=not is_kept)
        figure.arrow(centre - (6 if is_kept else 0), 182, centre - (6 if is_kept else 0), 214)
        if is_kept:
            figure.arrow(centre + 6, 214, centre + 6, 182, 'b')
    figure.text(centres[0] - 20, 256, 'backbone with SBP: every clip forward, '
                'r = 1/4 of them backward', 13, anchor='start', bold=True)
    figure.box(20, 216, 376, 16, PALE_FORWARD, FORWARD)
    figure.text(208, 229, 'features of all clips', 12)
    figure.arrow(400, 218, 446, 158)
    figure.arrow(446, 174, 402, 231, 'b')
    figure.labelled(452, 130, 116, 78, 'temporal', 'neck and head', fill='#fff')
    figure.text(510, 226, 'trained in full', 12)
    figure.arrow(570, 169, 618, 169)
    figure.text(624, 96, 'segments in seconds', 13, anchor='start', bold=True)
    for row, (start, end, name) in enumerate([(8, 90, 'turn'), (120, 178, 'approach'),
                                              (150, 246, 'sweep')]):
        y = 110 + 30 * row
        figure.box(626 + start, y, end - start, 20, PALE_FORWARD, FORWARD)
        figure.text(626 + (start + end) / 2, y + 14.5, name, 11)
    figure.arrow(626, 212, 888, 212, 'i', 1.2)
    figure.text(888, 228, 'time', 11, anchor='end')
    figure.arrow(757, 232, 757, 258)
    figure.labelled(640, 262, 234, 34, 'mAP by the published protocols')
    legend(figure, 20, 300)
    figure.write('pipeline')


def draw_direct() -> None:
    """Draw the direct form: kept clips with gradient, the others without."""
    figure = Figure(760, 300, 'Direct form: all clips are encoded once; only the kept clips '
                              'cache activations and are backpropagated.')
    kept = {1, 4}
    figure.text(20, 28, 'clips', 13, anchor='start', bold=True)
    centres = filmstrip(figure, 120, 14, kept, width=56, gap=14)
    figure.text(20, 118, 'backbone', 13, anchor='start', bold=True)
    for clip, centre in enumerate(centres):
        is_kept = clip in kept
        shift = 8 if is_kept else 0
        figure.arrow(centre - shift, 52, centre - shift, 78)
        figure.labelled(centre - 28, 82, 56, 68, *(['cached'] if is_kept else ['no grad']),
                        fill=PALE_BACKWARD if is_kept else PALE_GREY,
                        stroke=BACKWARD if is_kept else '#8a939c', dash=not is_kept, size=11)
        figure.arrow(centre - shift, 152, centre - shift, 178)
        if is_kept:
            figure.arrow(centre + shift, 178, centre + shift, 154, 'b')
    figure.text(20, 199, 'features', 13, anchor='start', bold=True)
    figure.box(120, 182, 546, 26, PALE_FORWARD, FORWARD)
    figure.text(393, 200, 'equal to full backpropagation, bit for bit', 12)
    figure.arrow(330, 210, 330, 232)
    figure.arrow(456, 232, 456, 212, 'b')
    figure.text(466, 227, 'gradient of kept clips × K / k', 12, BACKWARD, anchor='start')
    figure.labelled(270, 234, 246, 26, 'neck, head and loss')
    legend(figure, 120, 284)
    figure.write('form_direct')


def draw_deferred() -> None:
    """Draw the deferred form: forward without gradient, kept clips again in the backward."""
    figure = Figure(760, 330, 'Deferred form: all clips are encoded without gradient. When the '
                              'gradient of the features is known, the kept clips are encoded '
                              'again, a few at a time.')
    figure.text(20, 26, '1. forward: nothing is cached', 13, anchor='start', bold=True)
    for clip in range(8):
        left = 20 + 42 * clip
        figure.labelled(left, 40, 36, 30, str(clip + 1), fill=PALE_GREY, stroke='#8a939c')
        figure.arrow(left + 18, 72, left + 18, 90)
        figure.box(left, 92, 36, 44, PALE_GREY, '#8a939c', dash=True)
        figure.arrow(left + 18, 138, left + 18, 156)
    figure.box(20, 158, 330, 24, PALE_FORWARD, FORWARD)
    figure.text(185, 175, 'features', 12)
    figure.arrow(150, 184, 150, 206)
    figure.arrow(220, 206, 220, 186, 'b')
    figure.labelled(60, 208, 250, 28, 'neck, head and loss')
    figure.text(230, 201, 'gradient of the features', 12, BACKWARD, anchor='start')
    figure.text(400, 26, '2. backward: the kept clips again', 13, anchor='start', bold=True)
    for step, (clip, active) in enumerate(((2, True), (5, False))):
        left = 420 + 150 * step
        figure.labelled(left, 40, 36, 30, str(clip), fill=PALE_BACKWARD, stroke=BACKWARD)
        figure.arrow(left + 12, 72, left + 12, 90)
        figure.labelled(left - 14, 92, 64, 44, 'cached', fill=PALE_BACKWARD, stroke=BACKWARD,
                        size=11)
        figure.arrow(left + 18, 178, left + 18, 139, 'b')
        figure.text(left + 18, 196, 'gradient × weight', 11, BACKWARD)
        if active:
            figure.arrow(left + 60, 114, left + 122, 114, 'i', 1.4)
            figure.text(left + 92, 84, 'freed, then', 11)
            figure.text(left + 92, 98, 'the next', 11)
    figure.text(400, 232, 'memory: a few clips, whatever T and r', 13, anchor='start')
    figure.text(400, 254, 'time: the kept clips are encoded twice', 13, anchor='start')
    legend(figure, 20, 304)
    figure.write('form_deferred')


def draw_guided() -> None:
    """Draw guided sampling: chances that follow the gradient of the features."""
    figure = Figure(760, 300, 'Guided form: the chance of a clip to be kept grows with the '
                              'distance of its feature gradient from those of its neighbours.')
    heights = [16, 22, 64, 88, 30, 14, 52, 18]
    kept = {2, 3, 6}
    figure.text(20, 30, 'chance of being kept', 13, anchor='start', bold=True)
    figure.text(20, 50, 'grows with the distance', 12, anchor='start')
    figure.text(20, 66, 'of the gradient of the', 12, anchor='start')
    figure.text(20, 82, "clip's feature from its", 12, anchor='start')
    figure.text(20, 98, "neighbours'", 12, anchor='start')
    for clip, height in enumerate(heights):
        centre = 230 + 64 * clip
        is_kept = clip in kept
        figure.box(centre - 16, 128 - height, 32, height,
                   PALE_BACKWARD if is_kept else PALE_GREY,
                   BACKWARD if is_kept else '#8a939c', radius=1)
        figure.arrow(centre, 150, centre, 134, 'b', 1.4)
        figure.labelled(centre - 24, 182, 48, 34, str(clip + 1),
                        fill=PALE_BACKWARD if is_kept else PALE_GREY,
                        stroke=BACKWARD if is_kept else '#8a939c')
    figure.text(454, 168, 'gradient of the features, from neck and head', 12, BACKWARD)
    figure.text(20, 196, 'systematic draw', 13, anchor='start', bold=True)
    figure.text(20, 214, 'along time', 12, anchor='start')
    figure.text(20, 250, 'The kept clips are encoded again, as in the deferred form.', 13,
                anchor='start')
    figure.text(20, 272, 'Weight of a kept clip: 1 / its chance. So the gradient stays unbiased.',
                13, anchor='start')
    figure.write('form_guided')


def draw_tokens() -> None:
    """Draw the token form: one residual branch with the gradient of kept tokens."""
    figure = Figure(760, 320, 'Token form: the forward uses every token; the branches of a block '
                              'receive the gradient of the kept tokens only.')
    kept = {(0, 1), (1, 3), (2, 0), (3, 2)}
    figure.text(20, 28, 'tokens of a clip', 13, anchor='start', bold=True)
    for row in range(4):
        for column in range(4):
            is_kept = (row, column) in kept
            figure.box(24 + 30 * column, 44 + 30 * row, 26, 26,
                       PALE_BACKWARD if is_kept else PALE_GREY,
                       BACKWARD if is_kept else '#8a939c', radius=2)
    figure.text(84, 186, 'r = 1/4, spread evenly', 12)
    figure.text(84, 202, "(mask='grid')", 12)
    figure.arrow(150, 96, 214, 96)
    figure.arrow(214, 112, 152, 112, 'b')
    figure.text(226, 28, 'one block', 13, anchor='start', bold=True)
    figure.box(220, 40, 400, 176, '#fff', INK)
    for left, name in ((250, 'attention'), (440, 'MLP')):
        figure.labelled(left, 108, 120, 60, name, 'caches kept tokens', fill=PALE_BACKWARD,
                        stroke=BACKWARD, size=12)
        figure.arrow(left + 8, 72, left + 8, 104)
        figure.arrow(left + 24, 104, left + 24, 78, 'b')
        figure.arrow(left + 112, 106, left + 112, 76)
        figure.arrow(left + 96, 78, left + 96, 104, 'b')
    figure.arrow(222, 64, 616, 64, 'f', 2.4)
    figure.arrow(616, 72, 224, 72, 'b', 2.4)
    figure.text(420, 57, 'shortcut: every token, forward and backward', 12)
    figure.text(420, 200, 'branches: every token forward, kept tokens backward', 12)
    figure.arrow(622, 96, 690, 96)
    figure.arrow(690, 112, 624, 112, 'b')
    figure.text(724, 108, 'next', 12)
    figure.text(20, 250, 'Each block draws its own tokens. The transformer needs no change: '
                'parameters and their names stay.', 13, anchor='start')
    legend(figure, 20, 290)
    figure.write('form_tokens')


if __name__ == '__main__':
    for draw in (draw_pipeline, draw_direct, draw_deferred, draw_guided, draw_tokens):
        draw()

"""Small result with ground truth, and the sliders of the page that shows them."""
from __future__ import annotations

import numpy as np
from chromium import Chromium

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detections import Detections


def small_annotations() -> dict[str, VideoAnnotation]:
    """Return two videos of 10 and 20 s: jump and run, and run; one label is no class."""
    rows = {'first': ([(1, 3), (5, 8), (8.5, 9)], ('jump', 'run', 'Ambiguous'), 10.0),
            'second': ([(2, 6)], ('run',), 20.0)}
    return {name: VideoAnnotation(name, 'test', duration, None, None, np.array(segments, float),
                                  labels)
            for name, (segments, labels, duration) in rows.items()}


def small_detections() -> Detections:
    """Return a good jump, a loose run (tIoU 0.6) and a false jump, and a miss in ``second``."""
    def entry(start: float, end: float, label: str, score: float) -> dict:
        return dict(segment=[start, end], label=label, score=score)
    return Detections.from_results({
        'first': [entry(1, 3, 'jump', 0.9), entry(5, 10, 'run', 0.8), entry(6, 7, 'jump', 0.4)],
        'second': [entry(15, 18, 'run', 0.3)], 'third': []})


def slide(browser: Chromium, name: str, value: float | str) -> None:
    """Move a slider of the page and wait until the change is drawn."""
    browser.run(f'''(() => {{ const e = document.getElementById('{name}'); e.value = {value};
                    e.dispatchEvent(new Event('input')); }})()''')
    browser.settle()

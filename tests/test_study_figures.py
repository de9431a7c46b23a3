"""The README's tables of strategies say what the committed figures of the study say."""
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
COMPARISONS = sorted((ROOT / 'configs/toy').glob('strategies_*.json'))


def test_the_study_is_committed():
    assert {path.stem for path in COMPARISONS} >= {'strategies_r3d10', 'strategies_r3d10_long'}


@pytest.mark.parametrize('path', COMPARISONS, ids=lambda path: path.stem)
def test_every_row_is_that_of_the_figures(path):
    comparison = json.loads(path.read_text())
    for row in comparison['strategies']:
        runs = [run for run in comparison['runs'] if run['strategy'] == row['strategy']]
        assert [run['mAP'] for run in runs] == row['mAPs'] and len(runs) >= 3
        cells = (f"{100 * row['mAP']:.2f} ± {100 * row['mAP_deviation']:.2f} | "
                 f"{100 * row['mAP_difference']:+.2f} | {row['saved_backbone_ratio']:.3f}")
        assert any(line.startswith(f"| `{row['strategy']}`") and cells in line
                   for line in README.splitlines()), (row['strategy'], cells)

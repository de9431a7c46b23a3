"""The script of the study names existing files and possible strategies."""
import re
import shlex
from pathlib import Path

import pytest
from mmengine.config import Config

from sbp_tad.comparison.specs import parse_strategies
from sbp_tad.comparison.strategy_configs import apply_strategy

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / 'benchmarks/study.sh').read_text().replace('\\\n', ' ')
COMPARISONS = [shlex.split(line)[1:] for line in SCRIPT.splitlines() if line.startswith('compare ')]


def test_all_commands_are_found():
    assert len(COMPARISONS) == SCRIPT.count('\ncompare ') == 4
    for config in re.findall(r'configs/toy/recognizer_\S+', SCRIPT):
        for network in ('r3d10', 'vit4'):
            assert (ROOT / config.replace('${network}', network)).is_file()


@pytest.mark.parametrize('arguments', COMPARISONS, ids=lambda arguments: arguments[0])
def test_every_strategy_suits_its_config(arguments):
    name, config, *options = arguments
    cfg = Config.fromfile(ROOT / config)
    words = options[options.index('--strategies') + 1:]
    words = words[:words.index('--strategy-options')] if '--strategy-options' in words else words
    choices = parse_strategies(words)
    assert 'full' in words and len(choices) == len(words)
    for choice in choices:
        assert apply_strategy(cfg, choice).model.backbone.mode

"""Each row of the page of published recipes holds for the config that it is about."""
from __future__ import annotations

import inspect
import re
from ast import literal_eval
from pathlib import Path

import pytest

from sbp_tad.apis.launch import load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.datasets import FeatureFiles
from sbp_tad.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from sbp_tad.segments.merging import PostProcessing

PAGE = Path(__file__).parents[2] / 'docs/reference/published_recipes.md'
SECTIONS = PAGE.read_text(encoding='utf-8').split('\n## ')[1:]
CODES = [section.partition('\n')[0] for section in SECTIONS]
OWNERS = dict(test_cfg=PostProcessing, source=FeatureFiles)  # sections of a config without type


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's table without its head."""
    lines = [line for line in section.splitlines() if line.startswith('|')][2:]
    return [[cell.strip() for cell in line.strip('|').split(' | ')] for line in lines]


def literal(cell: str):
    return plain(literal_eval(cell.strip('`')))


def plain(value):
    """Return lists as tuples."""
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def setting(config, key: str):
    """Return what a key of a config says, or the default of the component that it belongs to."""
    name, value = '', config
    for part in re.findall(r'\[([^]]+)\]|([^.[]+)', key):
        part = part[0] or part[1]
        if isinstance(value, (list, tuple)):
            name, value = part, value[int(part)]
        elif part in value:
            name, value = part, value[part]
        else:
            return default(OWNERS.get(name) or component(value['type']), part)
    return plain(value)


def component(name: str) -> type:
    return next(found for registry in (MODELS, DATASETS, TRANSFORMS, HOOKS)
                if (found := registry.get(name)) is not None)


def default(owner: type, name: str):
    """Return the default of an option, which a base class may take."""
    for base in owner.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return plain(parameters[name].default)
    raise KeyError(f'{owner.__name__} has no option {name}')


@pytest.fixture(scope='module')
def configs():
    return {code: load_config(find_config(re.search(r'here\s+`([^`]+)`', section)[1]))
            for code, section in zip(CODES, SECTIONS)}


@pytest.mark.parametrize('code', CODES)
def test_every_row_holds(code, configs):
    table = rows(SECTIONS[CODES.index(code)])
    assert len(table) > 15
    wrong = []
    for mark, _, published, key, here in table:
        found = setting(configs[code], key.strip('`'))
        if found != literal(here) or (mark == '≠') == (literal(published) == literal(here)):
            wrong.append((key, found, here, published, mark))
    assert not wrong


def test_a_wrong_row_is_found(configs):
    config = configs['ActionFormer']
    assert setting(config, 'model.test_cfg.sigma') == 0.5
    assert setting(config, 'model.head.center_radius') == 1.5  # a default of the component
    assert setting(config, 'train_dataloader.dataset.pipeline[0].min_keep_share') == 0.5
    with pytest.raises(KeyError, match='AnchorFreeHead has no option radius'):
        setting(config, 'model.head.radius')

"""Every command of every page is one that the parser of its tool takes."""
import importlib.util
import re
import shlex
import sys

import pytest
from pages import FENCE, PAGES, ROOT, page

NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
PROGRAM = re.compile(r'^(?:.*? )?(?:python(?: -W ignore)? |torchrun .*?|srun .*? python )'
                     r'(?:-m (?P<module>benchmarks\.\w+)|(?P<tool>tools/\w+\.py))(?P<rest>.*)$')


def lines_of(name):
    """The commands of a page, run or not, each in one line and without its comment."""
    for match in FENCE.finditer(page(name)):
        if match['language'] == 'shell':
            text = match['text'].replace('\\\n', ' ')
            yield from (line.partition('  #')[0] for line in text.splitlines())


def tool_commands(name):
    found = [PROGRAM.match(line) for line in lines_of(name)]
    return [(match['tool'] or match['module'].replace('.', '/') + '.py', match['rest'])
            for match in found if match]


COMMANDS = sorted({command for name in NAMES for command in tool_commands(name)})


def load(path):
    name = f'documented_{path.stem}'
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def test_there_are_commands():
    assert len(COMMANDS) > 40
    assert {'tools/train.py', 'tools/evaluate.py'} <= {tool for tool, _ in COMMANDS}


@pytest.mark.parametrize('tool, rest', COMMANDS, ids=lambda value: value.strip()[:60])
def test_the_parser_takes_it(tool, rest):
    module = load(ROOT / tool)
    module.build_parser().parse_args(shlex.split(rest))

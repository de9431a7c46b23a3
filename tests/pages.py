"""The README and the pages of the documentation as the tests read them."""
from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')]
PAGES += [ROOT / 'data/README.md', ROOT / 'benchmarks/README.md',
          *sorted((ROOT / 'configs').glob('*/README.md'))]
PAGES += sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts)
TUTORIALS = [ROOT / 'README.md', *sorted((ROOT / 'docs/tutorials').glob('*.md'))]
FENCE = re.compile(r'^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w+)\n'
                   r'(?P<text>.*?)^```$', flags=re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    """Return the text of a page, named from the root of the repository."""
    return (ROOT / name).read_text()


def python_blocks(name: str) -> list[str]:
    """Return the Python blocks of a page."""
    return [match['text'] for match in FENCE.finditer(page(name)) if match['language'] == 'python']


def block_with(name: str, text: str) -> str:
    """Return the only Python block of a page that holds the text."""
    found, = [block for block in python_blocks(name) if text in block]
    return found


def commands(name: str) -> list[str]:
    """Return the lines of the shell blocks of a page, without blocks marked ``not run``."""
    return [line for match in FENCE.finditer(page(name))
            if match['language'] == 'shell' and not match['reason']
            for line in match['text'].splitlines()]

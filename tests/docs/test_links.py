"""Links and paths of all pages; the build checks what it renders, GitHub shows the rest."""
import re

import pytest
import yaml
from pages import FENCE, PAGES, ROOT, page

NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
PATH = re.compile(r'(?<![\w/.:-])(?:tools|configs|benchmarks|tests|sbp_tad|docs)/[\w./+-]*'
                  r'\.(?:py|sh|md|json|yml)\b')
GENERATED = 'tutorials/generated/'  # pages that the build makes


def anchor(heading):
    """The anchor of a heading, as GitHub and the site make it."""
    words = re.sub(r'[`*_]', '', heading).strip().lower()
    return re.sub(r'[^\w\- ]', '', words).replace(' ', '-')


def headings(path):
    text = FENCE.sub('', path.read_text())
    return {anchor(line.lstrip('#')) for line in text.splitlines() if line.startswith('#')}


@pytest.mark.parametrize('name', NAMES)
def test_every_link_leads_somewhere(name):
    text = FENCE.sub('', page(name))
    for link in re.findall(r'\]\(([^)]+)\)', text):
        if link.startswith('http') or GENERATED in link or link.startswith('generated/'):
            continue
        path, _, heading = link.partition('#')
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize('name', NAMES)
def test_paths_of_files_exist(name):
    for path in PATH.findall(page(name)):
        assert (ROOT / path).is_file() or path.endswith('my_head.py') \
            or path == 'tools/NAME.py', path


@pytest.mark.parametrize('name', NAMES)
def test_make_has_the_targets(name):
    makefile = page('Makefile')
    for target in re.findall(r'\bmake ([a-z-]+)(?=`|  )', page(name)):
        assert re.search(rf'^{target}:', makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize('name', NAMES)
def test_lines_are_short(name):
    text = FENCE.sub('', page(name))
    for line in text.splitlines():
        assert len(line) <= 140 or line.startswith(('|', '!')), line


def test_the_citation_names_both_papers():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    for paper in citation['references']:
        assert paper['title'] in page('README.md')
        for author in paper['authors']:
            assert f"{author['family-names']}, {author['given-names']}" in page('README.md')


@pytest.mark.parametrize('name', ['README.md', 'docs/index.md', 'docs/howto/index.md'])
def test_every_how_to_guide_is_linked_in_plain_sight(name):
    """GitHub does not render the toctree of the site."""
    text = page(name)
    for path in (ROOT / 'docs/howto').glob('*.md'):
        assert re.search(rf'\]\((?:docs/)?(?:howto/)?{path.name}', text) \
            or (name, path.name) == ('docs/howto/index.md', 'index.md'), path.name


def test_the_table_of_packages_is_complete():
    text = page('CONTRIBUTING.md')
    for path in (ROOT / 'sbp_tad').iterdir():
        if (path / '__init__.py').exists():
            assert f'| `sbp_tad/{path.name}/` |' in text, path.name

"""Settings of the documentation, built by ``make docs``.

The build is strict: a broken link, an unknown reference, a failing example or
any other warning ends it with an error.
"""
import shutil
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / '_ext')]
# mmaction2 and mmengine still use what torch and setuptools deprecate.
warnings.simplefilter('ignore')

import sbp_tad  # noqa: E402

# Pages of an earlier build that name modules which were renamed since.
PAGES = DOCS / 'reference/api'
modules = {'.'.join(path.relative_to(DOCS.parent).with_suffix('').parts).removesuffix('.__init__')
           for path in (DOCS.parent / 'sbp_tad').rglob('*.py') if '.mim' not in path.parts}
if not {page.stem for page in PAGES.glob('*.rst')} <= modules:
    shutil.rmtree(PAGES)

project = 'sbp_tad'
author = 'The sbp_tad authors'
release = version = sbp_tad.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'sphinx_gallery.gen_gallery',
    'python_names',
    'tool_options',
    'component_tables',
]
exclude_patterns = ['_build', 'tutorials/executed', '**/sg_execution_times.rst']
templates_path = ['_templates']
suppress_warnings = [
    'config.cache',  # sphinx-gallery's settings hold functions
    'ref.python',  # the type `bytes` and attributes of that name
]

# Markdown
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

# The reference is drawn from docstrings: Google style, with roles.
autodoc_default_options = {'members': True, 'ignore-module-all': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
add_module_names = False
autosummary_generate = True
autosummary_ignore_module_all = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # annotations say the type, the text its shape

nitpicky = True
# Types of other packages have no page here, and no network is needed to build.
nitpick_ignore_regex = [
    ('py:.*', r'(torch|numpy|np|mmengine|mmcv|mmaction|matplotlib|av|decord|rich)(\..*)?'),
    ('py:class', r'(Tensor|Config|nn\.Module|float32|optional|callable)'),
    # Sphinx cuts the type of a dataclass field at its comma.
    ('py:class', r'(dict\[(str|int)|tuple\[~typing\.Any)'),
    ('py:exc', r'BrokenProcessPool'),
    ('py:.*', r'(collections|typing|pathlib|argparse|types|os|abc|contextlib|functools|enum)\..*'),
]

# One tutorial is a program: it runs in the build, and its output is shown.
sphinx_gallery_conf = {
    'examples_dirs': 'tutorials/executed',
    'gallery_dirs': 'tutorials/generated',
    'filename_pattern': r'\.py$',
    'only_warn_on_example_error': False,
    'abort_on_example_error': True,
    'show_memory': False,
    'write_computation_times': False,
    'download_all_examples': False,
    'show_signature': False,
}

# The page
html_theme = 'furo'
html_title = f'sbp_tad {release}'
html_static_path = ['_static']
html_css_files = ['tables.css']
html_copy_source = False
html_show_copyright = False
copybutton_prompt_text = '$ '

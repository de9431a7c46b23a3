"""Effects of importing the package."""
from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sbp_tad

REPOSITORY = Path(__file__).parents[1]
# Stands for a machine with torch alone.
BLOCK_OPENMMLAB = '''
import importlib.util, sys
class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmaction'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocker)
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in ('mmengine', 'mmcv') else find_spec(name)
'''


def run_python(code: str) -> str:
    """The output of a process of its own, run in the repository."""
    done = subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a process holds after the statement."""
    code = f'{statement}; import json, sys; print(json.dumps(list(sys.modules)))'
    return {name.split('.')[0] for name in json.loads(run_python(code))}


def test_package_imports_nothing_heavy():
    assert not {'torch', 'numpy', 'mmengine', 'mmcv', 'mmaction'} & modules_after('import sbp_tad')


def test_method_imports_torch_alone():
    modules = modules_after('import sbp_tad.sbp')
    assert 'torch' in modules
    assert not {'mmengine', 'mmcv', 'mmaction'} & modules


def test_method_works_where_openmmlab_is_not_installed():
    run_python(f'{BLOCK_OPENMMLAB}\nimport sbp_tad.sbp, sbp_tad.segments, sbp_tad.annotations')


def test_missing_openmmlab_is_one_sentence():
    run_python(f'{BLOCK_OPENMMLAB}\n'
               'from sbp_tad import compat, versions\n'
               'try: compat.prepare_stack()\n'
               'except versions.VersionError as error: assert "run: pip install" in str(error)\n'
               'else: raise SystemExit(1)')


def test_version_is_that_of_the_distribution():
    assert importlib.metadata.version('sbp_tad') == sbp_tad.__version__


@pytest.mark.parametrize('registry, name', [
    ('MODELS', 'Recognizer2D'), ('MODELS', 'SwinTransformer3D'), ('MODELS', 'BaseDataPreprocessor'),
    ('DATASETS', 'VideoDataset'), ('TRANSFORMS', 'DecordInit'), ('TRANSFORMS', 'Compose'),
    ('METRICS', 'AccMetric'), ('HOOKS', 'CheckpointHook'), ('OPTIM_WRAPPERS', 'OptimWrapper'),
    ('VISUALIZERS', 'ActionVisualizer'),
])
def test_parent_types_need_no_prefix(registry, name):
    from sbp_tad import registry as registries

    assert getattr(registries, registry).get(name).__name__ == name


def test_the_registries_search_every_module_of_data_components():
    """A transform in a module that is not searched exists only where something imports it."""
    from sbp_tad.registry import DATA_MODULES
    folder = Path(sbp_tad.__file__).parent
    modules = {'.'.join(('sbp_tad', *path.relative_to(folder).with_suffix('').parts))
               for path in (folder / 'datasets').rglob('*.py')
               if '.register_module(' in path.read_text()}
    assert modules and modules <= set(DATA_MODULES)

"""Supported versions pass, others and missing packages end in the command that cures them."""
import configparser
import importlib.metadata
from pathlib import Path

import pytest

from sbp_tad import versions
from sbp_tad.errors import UserError

REPOSITORY = Path(__file__).parents[1]
SUPPORTED = {'torch': '2.13.0+cpu', 'numpy': '2.4.6', 'mmengine': '0.10.7',
             'mmcv-lite': '2.1.0', 'mmaction2': '1.2.0'}


@pytest.fixture
def installed(monkeypatch):
    """Pretends that exactly the given distributions are installed."""
    def pretend(versions: dict) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]
        monkeypatch.setattr(importlib.metadata, 'version', version)
    return pretend


@pytest.mark.parametrize('change', [
    {},
    {'mmaction2': '1.1.0', 'mmcv-lite': '2.0.1'},
    {'torch': '2.1'},
    {'torch': '2.15.0a0+git1234', 'numpy': '1.24.0', 'mmengine': '0.10.4'},
    {'mmcv-lite': None},  # half removed: metadata without a version
])
def test_supported_versions_pass(installed, change):
    installed({**SUPPORTED, **change})
    versions.check_versions()


@pytest.mark.parametrize('found', [
    {},
    {'torch': '2.2.0'},
    {'torch': '2.2.0', 'onedl-mmengine': '0.10.12', 'mmcv': '2.1.0', 'mmaction2': '1.2.0'},
])
def test_absent_packages_and_other_distributions_pass(installed, found):
    installed(found)
    versions.check_versions()


@pytest.mark.parametrize('name, version, expected', [
    ('torch', '2.0.1+cu118', '>=2.1'),
    ('numpy', '1.23.5', '>=1.24'),
    ('mmengine', '0.10.3', '>=0.10.4,<0.11'),
    ('mmengine', '0.11.0rc1', '>=0.10.4,<0.11'),
    ('mmcv-lite', '2.2.0', '>=2.0.1,<2.2'),
    ('mmaction2', '1.0.0', '>=1.1.0,<1.3'),
    ('mmaction2', '1.3.0', '>=1.1.0,<1.3'),
])
def test_unsupported_version_names_the_command(installed, name, version, expected):
    installed({**SUPPORTED, name: version})
    with pytest.raises(versions.VersionError) as caught:
        versions.check_versions()
    assert str(caught.value) == (
        f'{name} {version} is installed, sbp_tad supports {expected}; '
        f"run: pip install '{name}{expected}'")
    assert isinstance(caught.value, (UserError, ImportError))


def test_old_mmaction_needs_old_mmcv(installed):
    installed({**SUPPORTED, 'mmaction2': '1.1.0'})
    command = r"mmaction2 1.1 supports >=2\.0\.1,<2\.1; run: pip install 'mmcv-lite>=2\.0\.1,<2\.1'"
    with pytest.raises(versions.VersionError, match=command):
        versions.check_versions()


def test_setup_cfg_declares_the_same_ranges():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / 'setup.cfg')
    declared = setup['options']['install_requires'].split('\n')
    for requirement in versions.REQUIREMENTS:
        assert requirement.distributions[0] + requirement.versions() in declared


@pytest.mark.parametrize('constraints', ['constraints.txt', 'constraints-mmaction2-1.1.txt'])
def test_tested_pins_are_supported(installed, constraints):
    folder = REPOSITORY / 'requirements'
    lines = [line for name in ('torch.txt', 'common.txt', constraints)
             for line in (folder / name).read_text().splitlines()]
    pins = dict(line.split('==') for line in lines if '==' in line)
    assert {'torch', 'numpy', 'mmengine', 'mmcv-lite', 'mmaction2'} <= pins.keys()
    installed(pins)
    versions.check_versions()


@pytest.mark.parametrize('module, command', [
    ('mmengine', r"mmengine is not installed.*run: pip install 'mmengine>=0\.10\.4,<0\.11'"),
    ('mmcv', r"mmcv-lite is not installed.*run: pip install 'mmcv-lite>=2\.0\.1,<2\.2'"),
    ('mmaction', r"mmaction2 is not installed.*run: pip install 'mmaction2>=1\.1\.0,<1\.3'"),
])
def test_missing_package_names_the_command(absent, module, command):
    absent(module)
    with pytest.raises(versions.VersionError, match=command):
        versions.require_packages()


def test_missing_pkg_resources_names_the_command(absent):
    versions.require_pkg_resources()
    absent('pkg_resources')
    with pytest.raises(versions.VersionError, match=r"pip install 'setuptools>=64,<81'"):
        versions.require_pkg_resources()

"""Supported versions of the software stack, checked without importing it.

An unsupported version raises :class:`VersionError`, whose message gives the
command that installs a supported one.
"""
from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import warnings
from dataclasses import dataclass

from sbp_tad.errors import UserError


class VersionError(UserError, ImportError):
    """A package of the stack that is missing or has an unsupported version."""


@dataclass(frozen=True)
class Requirement:
    """A package of the stack and its supported versions."""

    module: str  # import name
    distributions: tuple[str, ...]  # names for pip, the first is recommended
    lowest: str
    below: str | None = None

    def versions(self) -> str:
        """Return the supported range in pip's notation."""
        return f'>={self.lowest}' + (f',<{self.below}' if self.below else '')

    def allows(self, version: str) -> bool:
        """Return True if an installed version lies in the range."""
        below = release(self.below or '9999')
        return release(self.lowest) <= release(version) < below

    def installed(self) -> tuple[str, str] | None:
        """Return name and version of the installed distribution, or None."""
        for name in self.distributions:
            try:
                version = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
            if version:  # None after an incomplete uninstallation
                return name, version
        return None


REQUIREMENTS = (
    Requirement('torch', ('torch',), '2.1'),
    Requirement('numpy', ('numpy',), '1.24'),
    Requirement('mmengine', ('mmengine', 'mmengine-lite', 'onedl-mmengine'), '0.10.4', '0.11'),
    Requirement('mmcv', ('mmcv-lite', 'mmcv'), '2.0.1', '2.2'),
    Requirement('mmaction', ('mmaction2',), '1.1.0', '1.3'),
)
# mmaction2 1.1.0 asserts mmcv < 2.1 when it is imported.
MMCV_OF_MMACTION2_1_1 = Requirement('mmcv', ('mmcv-lite', 'mmcv'), '2.0.1', '2.1')


def check_versions() -> None:
    """Check the installed versions without importing the packages.

    An absent package is no error here, because the torch-only layer works
    without the others; :func:`require_packages` needs all of them.

    Raises:
        VersionError: an installed package has an unsupported version.
    """
    for requirement in REQUIREMENTS:
        _check_version(requirement)
    mmaction = REQUIREMENTS[-1].installed()
    if mmaction and release(mmaction[1]) < (1, 2):
        _check_version(MMCV_OF_MMACTION2_1_1, ' with mmaction2 1.1')


def require_packages() -> None:
    """Cure for ``No module named 'mmengine'``: require all packages of the stack.

    Raises:
        VersionError: with the command that installs the missing package.
    """
    for requirement in REQUIREMENTS:
        if importlib.util.find_spec(requirement.module) is None:
            name = requirement.distributions[0]
            raise VersionError(
                f'{name} is not installed, the components of sbp_tad need it; run: '
                f"pip install '{name}{requirement.versions()}'")


def require_pkg_resources() -> None:
    """Cure for ``No module named 'pkg_resources'``: require an older setuptools.

    mmengine imports it to resolve ``mmaction::`` in ``_base_``. setuptools
    removed it after version 80, and warns about it before.

    Raises:
        VersionError: with the command that installs it.
    """
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated as an API')
    if importlib.util.find_spec('pkg_resources') is None:
        raise VersionError(
            'pkg_resources is not installed, mmengine needs it and setuptools 81 or newer '
            "lacks it; run: pip install 'setuptools>=64,<81'")


def _check_version(requirement: Requirement, context: str = '') -> None:
    installed = requirement.installed()
    if installed is None or requirement.allows(installed[1]):
        return
    name, version = installed
    raise VersionError(
        f'{name} {version} is installed, sbp_tad{context} supports {requirement.versions()}; '
        f"run: pip install '{name}{requirement.versions()}'")


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: (2, 13, 0) for '2.13.0+cpu'."""
    return tuple(int(number) for number in re.findall(r'\d+', version.split('+')[0])[:3])

"""Every invariant of token-level SBP on every case of a backbone family."""
from __future__ import annotations

import pytest
from token_cases import INVARIANTS, Case, check_autocast, check_reference
from token_settings import SETTINGS, check_compile
from torch import nn

from sbp_tad.registry import MODELS

OPTIONS = [dict(kv='kept'), dict(rescale=False), dict(shortcut='dropped'),
           dict(kv='kept', shortcut='dropped', mask='tube')]


def drop_path(block: nn.Module) -> list[nn.Module]:
    """The module at the end of both branches of a block."""
    return [block.drop_path]


def build(config: dict, **options) -> nn.Module:
    """A network of mmaction."""
    return MODELS.build({**config, **options})


class TokenFormTests:
    """The tests of a family; its subclass gives ``CASES``, by name."""

    CASES: dict[str, Case]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each case."""
        if 'options' in metafunc.fixturenames:
            metafunc.parametrize('case, options', [
                pytest.param(name, options, id=f'{name}-{options}')
                for name, case in self.CASES.items() for options in OPTIONS
                if case.dropped or 'shortcut' not in options])
        elif 'compiled' in metafunc.fixturenames:
            metafunc.parametrize('compiled', [
                pytest.param(self.COMPILED, marks=pytest.mark.nightly)])
        elif 'case' in metafunc.fixturenames:
            metafunc.parametrize('case', self.CASES)

    @pytest.mark.parametrize('mask', ['grid', 'random', 'tube'])
    def test_gradients_equal_the_masked_reference(self, case, mask, monkeypatch):
        check_reference(self.CASES[case], monkeypatch, mask=mask)

    def test_every_option_equals_the_masked_reference(self, case, options, monkeypatch):
        check_reference(self.CASES[case], monkeypatch, **options)

    @pytest.mark.parametrize('invariant', INVARIANTS)
    def test_invariants(self, case, invariant):
        INVARIANTS[invariant](self.CASES[case])

    @pytest.mark.parametrize('setting', SETTINGS)
    def test_works_under(self, case, setting):
        SETTINGS[setting](self.CASES[case])

    def test_autocast(self, case, monkeypatch):
        check_autocast(self.CASES[case], monkeypatch)


class CompiledTokenFormTests(TokenFormTests):
    """The tests of a family, and one through ``torch.compile`` for the case ``COMPILED``.

    Tracing takes seconds: with every change only tests/sbp/test_token_blocks.py compiles a block.
    """

    COMPILED: str

    @pytest.mark.slow
    @pytest.mark.filterwarnings(
        'ignore:.*should not be instantiated:DeprecationWarning',
        'ignore:The .grad attribute of a Tensor',  # torch's own, in tracing
        'ignore:.*call to a `functools.lru_cache`')  # mmaction's compute_mask
    def test_compiled(self, compiled):
        check_compile(self.CASES[compiled])

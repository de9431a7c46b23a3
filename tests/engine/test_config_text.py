"""The text of a config is read as values, and never run."""
import pytest
from mmengine.config import Config

from sbp_tad.engine.config_text import read_config_text


def test_it_reads_what_a_config_writes():
    values = dict(
        model=dict(type='A', sizes=[(1, 2), (3, 4)], keys={'a.b': -1, 3: 1e-6}, none=None, no=False,
                   inf=float('inf'), negative=-float('inf'), text="it's"),
        hooks=[dict(type='B'), dict(type='C')], empty={}, nothing=[])
    found = read_config_text(Config(values).pretty_text)
    assert found == dict(
        model=dict(type='A', sizes=[[1, 2], [3, 4]], keys={'a.b': -1, '3': 1e-6}, none=None,
                   no=False, inf=float('inf'), negative='-inf', text="it's"),
        hooks=[dict(type='B'), dict(type='C')], empty={}, nothing=[])


def test_it_runs_nothing(tmp_path):
    text = f"a = open({str(tmp_path / 'x')!r}, 'w')\nb = [print(1), 2]\nimport os\n"
    assert read_config_text(text) == dict(a=f"open({str(tmp_path / 'x')!r}, 'w')",
                                          b=['print(1)', 2])
    assert not list(tmp_path.iterdir())


def test_it_refuses_what_is_no_python():
    with pytest.raises(SyntaxError):
        read_config_text('a = (')

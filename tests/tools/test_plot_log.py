"""The plotting tool reads logs and writes a picture."""
import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).parents[2] / 'tools/plot_log.py'


def test_two_logs_become_one_picture(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('plot_log', PATH)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name in 'ab':
        (tmp_path / name).write_text(json.dumps(dict(loss=1.0, iter=1, step=1)))
    out = tmp_path / 'out.png'
    tool.main([str(tmp_path / 'a'), str(tmp_path / 'b'), '--out', str(out)])
    assert out.read_bytes()[:4] == b'\x89PNG' and str(out) in capsys.readouterr().out

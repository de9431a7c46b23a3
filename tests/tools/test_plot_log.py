"""The plotting tool reads logs and writes a picture."""
import json


def test_two_logs_become_one_picture(tmp_path, call_tool):
    for name in 'ab':
        (tmp_path / name).write_text(json.dumps(dict(loss=1.0, iter=1, step=1)))
    out = tmp_path / 'out.png'
    status, printed, _ = call_tool('plot_log', tmp_path / 'a', tmp_path / 'b', '--out', out)
    assert status == 0 and out.read_bytes()[:4] == b'\x89PNG' and str(out) in printed

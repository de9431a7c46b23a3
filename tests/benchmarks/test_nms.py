"""The benchmark of suppression measures every method in every case."""
import json

from benchmarks import nms


def test_every_method_has_a_figure_in_every_case(tmp_path, capsys):
    out = tmp_path / 'figures.json'
    nms.main(['--segments', '60', '--classes', '3', '--kept', '10', '--duration', '50', '500',
              '--repeats', '2', '--json', str(out)])
    rows = json.loads(out.read_text())
    assert [(row['case'], row['duration_seconds']) for row in rows] == [
        (case, duration) for case in ('60 in each of 3 classes, all',
                                      '60 over all classes, 10 kept') for duration in (50, 500)]
    assert all(row[name] > 0 for row in rows
               for name in ('gaussian', 'linear', 'hard', 'nmw', 'voting'))
    assert 'CPU milliseconds' in capsys.readouterr().out


def test_cases_hold_what_they_say():
    segments, scores, labels = nms.draw_detections(60, 3, 50.0)
    assert segments.shape == (60, 2) and scores.shape == (60, )
    assert [int((labels == label).sum()) for label in range(3)] == [20, 20, 20]
    picks, _ = nms.methods_for((segments, scores, labels), 0.0, None)['gaussian']()
    assert len(picks) == 60  # to exhaustion

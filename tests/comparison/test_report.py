"""A comparison as table, JSON, CSV, Markdown and picture."""
import csv
import io
import json

import pytest
from rich.console import Console

from sbp_tad.comparison.report import (
    UNKNOWN,
    in_order,
    points,
    print_table,
    row_cells,
    to_csv,
    to_markdown,
    write_report,
)
from sbp_tad.comparison.summary import StrategySummary

MIB = 2**20
FULL = StrategySummary(
    'full', 'full', 1.0, [0, 1, 2], [0.5, 0.6, 0.7], mAP=0.6, mAP_deviation=0.1, mAP_difference=0.0,
    saved_backbone_bytes=80 * MIB, saved_backbone_ratio=1.0, saved_model_bytes=100 * MIB,
    saved_model_ratio=1.0, peak_memory_bytes=700 * MIB, peak_memory_ratio=1.0,
    step_peak_bytes=150 * MIB, step_peak_ratio=1.0, step_seconds=0.2, step_wall_seconds=0.4,
    step_time_ratio=1.0, seconds_per_update=0.5, cpu_seconds_per_update=0.25, updates=20,
    samples=160, samples_to_target=1536, seeds_at_target=2)
DIRECT = StrategySummary('direct:0.25', 'direct', 0.25, [0], [0.55], mAP=0.55,
                         saved_model_bytes=25 * MIB)
MEASURED = StrategySummary('frozen', saved_model_bytes=4 * MIB, step_time_ratio=0.5)
ROWS = [FULL, DIRECT, MEASURED]


def test_cells_say_what_is_known():
    cells = row_cells(FULL, 0.5)
    assert cells == {
        'strategy': 'full', 'mAP %': '60.00 ± 10.00', 'to full': '+0.00',
        'backbone saves MiB': '80.0', 'share': '1.000', 'model saves MiB': '100.0',
        'step peak MiB': '150', 'process peak MiB': '700', 'step s': '0.200',
        'time to full': '1.00', 'training s': '0.500', 'samples to 50 %': '1,536 (2/3)'}
    cells = row_cells(DIRECT, None)
    assert cells['mAP %'] == '55.00' and cells['to full'] == cells['step s'] == UNKNOWN
    assert not any(heading.startswith('samples') for heading in cells)


def test_a_pipe_gets_the_whole_table():
    stream = io.StringIO()
    print_table(ROWS, 0.5, Console(file=stream))
    lines = stream.getvalue().splitlines()
    row, = (line for line in lines if 'direct:0.25' in line)
    assert [cell.strip() for cell in row.strip('│').split('│')] == \
        list(row_cells(DIRECT, 0.5).values())
    assert 'over 0 to 3 seeds' in lines[-1]


def test_markdown_has_a_line_for_each_row_and_says_what_the_figures_are():
    head, ruler, *rows, blank, legend = to_markdown(ROWS, None).splitlines()
    assert len(rows) == 3 and blank == ''
    assert {line.count('|') for line in (head, ruler, *rows)} == {12}
    assert rows[0].startswith('| full | 60.00 ± 10.00 | +0.00 | 80.0 |')
    assert legend.startswith('mAP is after the last epoch')


def test_csv_holds_every_figure_as_it_is():
    rows = list(csv.DictReader(io.StringIO(to_csv(ROWS))))
    assert rows[0]['mAPs'] == '0.5 0.6 0.7' and rows[0]['saved_model_bytes'] == str(100 * MIB)
    assert rows[2]['mAP'] == '' and float(rows[2]['step_time_ratio']) == 0.5


def test_a_point_is_what_has_a_score_and_bytes():
    direct, full = points(ROWS)  # in the order of the colours
    assert (direct.name, direct.group, direct.memory_mib) == (
        'direct:0.25', 'stochastic backpropagation', 25)
    assert (direct.mAP, direct.deviation, direct.time_ratio) == (pytest.approx(55), 0, None)
    assert (full.group, full.deviation) == ('full backpropagation', pytest.approx(10))


def test_files_are_written_and_the_picture_if_there_is_a_score(tmp_path):
    paths = write_report(tmp_path, ROWS, 0.5, dict(config='a.py'))
    assert [path.name for path in paths] == [f'comparison.{kind}' for kind in (
        'json', 'csv', 'md', 'png')]
    content = json.loads(paths[0].read_text())
    assert content['config'] == 'a.py' and content['target_mAP'] == 0.5
    assert content['strategies'][0]['mAPs'] == [0.5, 0.6, 0.7]
    assert paths[3].read_bytes()[:4] == b'\x89PNG'
    assert len(write_report(tmp_path / 'measured', [MEASURED], None, {})) == 3


def test_names_are_listed_as_the_words_are():
    names = {'slow', 'direct:0.25', 'direct:0.5', 'deferred:0.125', 'frozen', 'full'}
    assert in_order(names) == ['full', 'frozen', 'direct:0.5', 'direct:0.25', 'deferred:0.125',
                               'slow']

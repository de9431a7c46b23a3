"""``python -m benchmarks.recipe``: its output and its JSON."""
import json
from pathlib import Path

import pytest
import torch

from benchmarks import recipe
from sbp_tad.apis.command_line import run_main

ROOT = Path(__file__).parents[2]
TOY = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')


@pytest.fixture
def run(capsys):
    """Call the program in this process; (status, stdout, stderr)."""
    threads = torch.get_num_threads()

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            run_main(recipe.main, [TOY, '--size', '24', *map(str, arguments)])
        return (caught.value.code, *capsys.readouterr())
    yield call
    torch.set_num_threads(threads)


def test_prints_and_writes_a_row_for_each_command(run, tmp_path):
    path = tmp_path / 'rows.json'
    status, printed, errors = run('--clips', 2, '--repeats', 1, '--json', path)
    assert (status, errors) == (0, '')
    assert 'r = 0.25: ' in printed and 'to full backpropagation: ' in printed
    run('--clips', 2, '--repeats', 0, '--json', path)  # the same but for the repeats
    run('--repeats', 0, '--json', path)
    rows = json.loads(path.read_text())
    assert [row['clips'] for row in rows] == [2, 4]
    assert rows[0]['step_ratios'] == [] and rows[0]['saved_bytes'] == rows[1]['saved_bytes']


def test_options_of_the_config_count(run, tmp_path):
    path = tmp_path / 'rows.json'
    for frames in (32, 64):
        run('--repeats', 0, '--json', path, '--cfg-options',
            f'train_dataloader.dataset.num_frames={frames}')
    rows = json.loads(path.read_text())
    assert [row['saved_shape'][1] for row in rows] == [32, 64]
    assert rows[0]['cfg_options'] == {'train_dataloader.dataset.num_frames': 32}


@pytest.mark.parametrize('text, message', [
    ('[1]', 'holds no list of recipes that this program wrote'),
    ('no JSON', 'holds no list of recipes'), (None, 'Cannot write the results')])
def test_a_wrong_file_is_a_sentence(run, tmp_path, text, message):
    path = tmp_path / ('rows.json' if text else 'missing/rows.json')
    if text:
        path.write_text(text)
    status, _, errors = run('--repeats', 0, '--json', path)
    assert status == 2 and message in ' '.join(errors.split())

"""``--cfg-options``: pairs as mmengine reads them, and no import of mmengine before."""
import argparse
import subprocess
import sys

import pytest
from mmengine.config import DictAction

from sbp_tad.apis.config.options import add_config_options, parse_pairs

PAIRS = ['a.b=1', 'c=[1,2]', 'd=text', 'e=1e-3', 'f=(1,2)', 'g=None', 'h=True']


def parser():
    found = argparse.ArgumentParser()
    add_config_options(found)
    return found


def test_pairs_are_read_as_mmengine_reads_them():
    expected = argparse.ArgumentParser()
    expected.add_argument('--cfg-options', nargs='+', action=DictAction)
    arguments = ['--cfg-options', *PAIRS]
    assert parser().parse_args(arguments) == expected.parse_args(arguments)
    assert parse_pairs(PAIRS) == expected.parse_args(arguments).cfg_options
    assert parser().parse_args([]).cfg_options == parse_pairs([]) == {}


def test_paths_that_look_like_other_values_stay_text():
    assert parse_pairs(['a.data_root=2024', 'b.ann_file=1e5', 'c.data_prefix.video=007',
                        'd.data_root=x,y', 'load_from=None', 'e.num_frames=2024']) == {
        'a.data_root': '2024', 'b.ann_file': '1e5', 'c.data_prefix.video': '007',
        'd.data_root': 'x,y', 'load_from': None, 'e.num_frames': 2024}


def test_a_word_that_is_no_pair_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(['--cfg-options', 'a=1', 'b'])
    assert caught.value.code == 2
    assert "argument --cfg-options: expected key=value, got 'b'" in capsys.readouterr().err


def test_dicts_of_several_keys_are_read(capsys):
    """mmengine alone recurses without end on the comma."""
    assert parse_pairs(["a=dict(type='X', b=[1, dict(c=(2, -1e-3))])", "d={'e': None, 'f': 1}",
                        'g=dict()', 'h.filename_template={video_id}.mp4', 'i=1']) == dict(
        a=dict(type='X', b=[1, dict(c=(2, -1e-3))]), d=dict(e=None, f=1), g={},
        **{'h.filename_template': '{video_id}.mp4'}, i=1)
    for text in ('dict(a=b, c=1)', 'dict(a=1', 'dict([(1, 2)])', "dict(a=open('x'))"):
        with pytest.raises(SystemExit):
            parse_pairs([f'key={text}'])
        assert f'key cannot be read, got {text}; expected' in capsys.readouterr().err


def test_mmengine_is_not_imported_before():
    code = ('import argparse, sys; from sbp_tad.apis.config.options import add_config_options; '
            'parser = argparse.ArgumentParser(); add_config_options(parser); parser.parse_args([]);'
            'assert "mmengine" not in sys.modules')
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0

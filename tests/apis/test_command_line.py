"""A user's error is one sentence and status 2; a fault keeps its traceback."""
import argparse
import io
import logging
import os
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.errors import UserError


def raising(error):
    def main(argv):
        raise error
    return main


@pytest.mark.parametrize('returned, status', [(0, 0), (None, 0), (3, 3)])
def test_status_of_main_is_the_status_of_the_process(returned, status):
    with pytest.raises(SystemExit) as caught:
        run_main(lambda argv: returned)
    assert caught.value.code == status


def test_arguments_are_handed_on():
    seen = []
    with pytest.raises(SystemExit):
        run_main(seen.append, ['--x'])
    assert seen == [['--x']]


def test_user_error_is_a_sentence(capsys):
    message = 'expected [bold]a[/] and got ' + 'a long story, ' * 20
    with pytest.raises(SystemExit) as caught:
        run_main(raising(UserError(message)))
    assert caught.value.code == 2
    assert capsys.readouterr() == ('', f'Error: {message}\n')


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8'])
def test_a_name_that_cannot_be_encoded_is_escaped(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, encoding))
    with pytest.raises(SystemExit) as caught:
        run_main(lambda argv: print('video \ud800', flush=True))
    assert caught.value.code == 0 and written.getvalue() == b'video \\ud800\n'


def test_interrupt_is_quiet(capsys):
    with pytest.raises(SystemExit) as caught:
        run_main(raising(KeyboardInterrupt()))
    assert caught.value.code == 130
    assert capsys.readouterr() == ('', '')


def write_much():
    for _ in range(100):
        print('a line of a table ' * 100)


def write_a_table():
    Console().print('a line of a table')


def write_a_log():
    handler = logging.StreamHandler(sys.stdout)
    handler.emit(logging.makeLogRecord(dict(msg='a line of a log')))


@pytest.mark.parametrize('write', [write_much, write_a_log, lambda: print('x'), write_a_table,
                                   argparse.ArgumentParser().print_help])
def test_a_closed_pipe_ends_a_tool_quietly(write, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, 'w') as pipe:
        monkeypatch.setattr(sys, 'stdout', pipe)
        with pytest.raises(SystemExit) as caught:
            run_main(lambda argv: write())
    assert caught.value.code == 141 and capsys.readouterr().err == ''


def test_a_broken_pipe_elsewhere_is_a_fault(capsys):
    with pytest.raises(BrokenPipeError):
        run_main(raising(BrokenPipeError('a data worker')))


def test_other_exceptions_pass():
    with pytest.raises(ValueError, match='a fault'):
        run_main(raising(ValueError('a fault')))


def test_an_error_of_a_data_worker_loses_its_traceback(capsys):
    """torch raises a worker's error again with the worker's traceback as its message."""
    wrapped = ('Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent '
               'call last):\n  File "x.py", line 1\nsbp_tad.errors.UserError: a.mp4: cut off.\n')
    with pytest.raises(SystemExit):
        run_main(raising(UserError(wrapped)))
    assert capsys.readouterr().err == 'Error: a.mp4: cut off.\n'


CLOSED = '[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1. See logs.'


def test_a_process_that_has_lost_another_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    with pytest.raises(SystemExit) as caught:
        run_main(raising(RuntimeError(CLOSED)))
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        'Error: this process ends because another process ended; see the message of that one '
        '([gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1).\n')
    with pytest.raises(RuntimeError, match='shapes differ'):
        run_main(raising(RuntimeError('shapes differ')))


def test_a_process_alone_has_lost_none():
    with pytest.raises(RuntimeError, match='closed by peer'):
        run_main(raising(RuntimeError(CLOSED)))


def test_torchrun_takes_the_message_for_the_root_of_the_others(tmp_path, monkeypatch):
    """Its own classes read the files of a process that fails and of one that loses it."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    failures = {}
    for rank, error in ((1, UserError('a.mp4: cut off.')), (0, RuntimeError(CLOSED))):
        path = tmp_path / f'{rank}.json'
        monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
        with pytest.raises(SystemExit):
            run_main(raising(error))
        failures[rank] = ProcessFailure(rank, pid=2, exitcode=2, error_file=str(path))
    summary = ChildFailedError('train.py', dict(sorted(failures.items())))
    assert summary.get_first_failure()[0] == 1
    assert 'traceback : a.mp4: cut off.' in str(summary).partition('Root Cause')[2]


def test_a_start_is_announced_on_stderr(capsys):
    announce('Loading PyTorch')
    assert capsys.readouterr() == ('', 'Loading PyTorch\n')


def test_every_slow_tool_announces_its_start():
    for path in (Path(__file__).parents[2] / 'tools').glob('*.py'):
        if path.stem != 'convert_annotations':
            assert 'announce(' in path.read_text(), path

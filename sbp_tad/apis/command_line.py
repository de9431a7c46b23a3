"""Entry point of all command-line tools: a user's error is one sentence and exit status 2."""
from __future__ import annotations

import io
import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from sbp_tad.errors import UserError

CLOSED_PIPE = 141  # 128 + SIGPIPE

# Messages of gloo, NCCL and torch's store when the peer process has ended.
LOST_PROCESS = ('closed by peer', 'reset by peer', 'Broken pipe', 'ncclRemoteError',
                'Connection was likely closed')


def sentence(error: UserError) -> str:
    """Return the message without the traceback that a data worker adds to it."""
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rpartition(f'{type(error).__name__}: ')[2].strip()
    return text


def has_lost_process(error: RuntimeError) -> bool:
    """Return whether the error says that another process of this run has ended."""
    torch = sys.modules.get('torch')
    is_together = torch is not None and torch.distributed.is_available() \
        and torch.distributed.is_initialized()
    return is_together and any(words in str(error) for words in LOST_PROCESS)


def announce(text: str) -> None:
    """Say on stderr what a tool begins to do or has done; stdout holds only its results."""
    print(text, file=sys.stderr, flush=True)


def report(text: str, delay_seconds: int = 0) -> None:
    """Print an error to stderr, and give it to torchrun, whose summary comes last.

    Args:
        text: the sentence.
        delay_seconds: added to the time of the error, because torchrun calls the
            earliest error the root cause.
    """
    console = Console(markup=False, emoji=False, stderr=True, soft_wrap=True)
    console.print(f'Error: {text}', style='red', markup=False, highlight=False)
    if path := os.environ.get('TORCHELASTIC_ERROR_FILE'):
        when = dict(timestamp=str(int(time.time()) + delay_seconds))
        content = dict(message=dict(message=text, extraInfo=when))
        Path(path).write_text(json.dumps(content), encoding='utf-8')


def run_main(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None
             ) -> NoReturn:
    """Run ``main(argv)`` and leave the process with the status it returns.

    Characters that stdout cannot encode are printed as escapes. If the reader
    of stdout has gone (``tool | head``), the tool ends quietly with status 141,
    as a shell reports programs that the signal of a closed pipe ends.

    A ``UserError`` is printed to stderr without a traceback and gives status
    2, as ``argparse`` does for wrong arguments. Ctrl-C gives 130. If another
    process of the run has ended, a sentence says so, and the status is 1. Any
    other exception is a fault of the program and keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr escapes such characters by default
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        status = _run(main, argv)
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        status = CLOSED_PIPE
    except UserError as error:
        report(sentence(error))
        status = 2
    except KeyboardInterrupt:
        status = 130
    except RuntimeError as error:
        if not has_lost_process(error):
            raise
        report('this process ends because another process ended; see the message of that one '
               f'({str(error).partition(". ")[0]}).', delay_seconds=1)
        status = 1
    sys.exit(status or 0)


def _run(main: Callable[[list[str] | None], int | None], argv: list[str] | None) -> int | None:
    """Return the status of ``main``, ``--help`` included, after all its output is written."""
    try:
        with _loggers_end_at_closed_pipe():
            status = main(argv)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends the process itself
            return CLOSED_PIPE
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


@contextmanager
def _loggers_end_at_closed_pipe() -> Iterator[None]:
    """Let a log line that nobody reads end the tool; logging would print a traceback for each."""
    handle = logging.Handler.handleError

    def handle_error(handler: logging.Handler, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        handle(handler, record)

    logging.Handler.handleError = handle_error  # type: ignore[method-assign]
    try:
        yield
    finally:
        logging.Handler.handleError = handle  # type: ignore[method-assign]


def _stdout_is_closed() -> bool:
    """Return True if nobody reads stdout; what is left for it is dropped then."""
    try:
        number = sys.stdout.fileno()
    except OSError:  # replaced by an object in memory
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    if not any(flags & (select.POLLERR | select.POLLHUP) for _, flags in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True

"""What all command-line tools share: a user's error is a sentence and exit status 2."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console

from sbp_tad.errors import UserError


def sentence(error: UserError) -> str:
    """The message alone: a data worker sends its errors with the traceback in the text."""
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rpartition(f'{type(error).__name__}: ')[2].strip()
    return text


def run_main(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None
             ) -> NoReturn:
    """Run ``main(argv)`` and leave the process with the status it returns.

    A ``UserError`` is printed to stderr without a traceback and gives status
    2, as ``argparse`` does for wrong arguments; Ctrl-C gives 130. Any other
    exception is a fault of the program and keeps its traceback.
    """
    try:
        status = main(argv)
    except UserError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f'Error: {sentence(error)}', style='red', markup=False, highlight=False)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status or 0)

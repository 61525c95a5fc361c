"""A line on stderr while something takes long; nothing where nobody is watching."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with `what` on stderr for as long as the block runs, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def quiet_libraries() -> None:
    """Silence the libraries' own bars and advice; errors still come out as exceptions."""
    from huggingface_hub.utils import disable_progress_bars, logging

    from rushes._transformers import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():  # a download of gigabytes may show on a terminal
        disable_progress_bars()

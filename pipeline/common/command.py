"""How a stage runs from the command line: what it says, and errors without a traceback."""

import logging
import sys
from collections.abc import Callable

from pipeline.common.files import InputError


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; what the user got wrong ends it with one message, exit code 1."""
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")

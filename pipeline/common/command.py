"""How a stage runs from the command line: what it says, and errors without a traceback."""

import ctypes
import errno
import gc
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable

from pipeline.common.files import InputError

PR_SET_PDEATHSIG = 1  # of Linux
INTERRUPTED = 130  # the exit code of a process that Ctrl-C ended, as shells give it
# What is wrong with the machine and not with the code.
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
               errno.EMFILE, errno.EISDIR, errno.ENOTDIR, errno.EFBIG,
               errno.ENAMETOOLONG}  # fmt: skip


def end_with_parent(by: int, parent: int | None = None) -> None:
    """Have this process end with the one that started it, by a signal, on Linux.

    Args:
        by: the signal.
        parent: who that was; if it has ended by now, so does this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; what its code cannot help ends it with one message, exit code 1.

    That is what the user got wrong, a disk that is full or not to be written, too little memory;
    and Ctrl-C, exit code 130.
    """
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    try:
        main()
        gc.freeze()  # or Python, ending, looks through all that torch has made: 0.4 s
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # who reads what is printed has had enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except FileNotFoundError as error:
        # Arrow's has no `filename`.
        if not (found := re.search(r"\b(data|reports)/[^\s'\"]+", str(error))):
            raise
        sys.exit(f"error: {found[0]} is not there; `dvc repro` runs the stages that make it")
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{(error.strerror or str(error)).lower()}")
    except sqlite3.OperationalError as error:
        sys.exit(f"error: .cache: {error}")
    except MemoryError as error:
        sys.exit(f"error: out of memory: {error}".rstrip(": "))
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        sys.exit(f"error: out of memory: {str(error).splitlines()[0]}")

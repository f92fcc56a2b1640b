"""`python -m …` and `dvc …` for many real runs: forked from a process that has their libraries.

A stage or a command of DVC takes a second or two, most of it imports. Here each is a process as
ever, with its own folder, environment, streams and exit status, and imports only this repository.
It shares the server's hash seed, though: who compares bytes starts one side without.
"""

import atexit
import gc
import json
import os
import runpy
import socket
import socketserver
import subprocess
import sys
import threading
import time
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

LIBRARIES = (
    "dvc.cli", "dvc.commands.repro", "dvc.repo", "jinja2", "matplotlib.figure", "PIL.Image",
    "pyarrow.parquet", "safetensors.torch", "scipy.sparse", "tokenizers", "torch",
)  # fmt: skip

# What stands in for a program; without `site` it starts in 20 ms.
CLIENT = """#!{python} -IS
import json, os, socket, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "python" and words[:1] != ["-m"]:
    os.execv({python!r}, [{python!r}, *words])
order = json.dumps([name, words, os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(order).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(order)
    status = server.recv(1)
sys.exit(status[0] if status else name + " died")
"""


@cache
def programs() -> Path:
    """A folder for the front of PATH, as long as this process runs."""
    folder = TemporaryDirectory()
    address = os.path.join(folder.name, "socket")
    for name in ("python", "dvc"):
        program = Path(folder.name, name)
        program.write_text(CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    atexit.register(folder.cleanup)
    atexit.register(server.terminate)
    while not os.path.exists(address):
        assert server.poll() is None
        time.sleep(0.02)
    return Path(folder.name)


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Ends with the process that started it."""

    request_queue_size = 64
    parent = os.getppid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self.parent:
            sys.exit()


class Program(socketserver.StreamRequestHandler):
    """One process."""

    def handle(self) -> None:
        size, streams, *_ = socket.recv_fds(self.request, 8, 3)
        name, words, folder, environment = json.loads(self.rfile.read(int.from_bytes(size, "big")))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        self.request.sendall(bytes([_status(name, words)]))


def _status(name: str, words: list[str]) -> int:
    """Run it to its end."""
    code: object = 1
    try:
        _run(name, words)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    # As an interpreter ends; it is not taken apart, which takes as long as the imports.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)


def _run(name: str, words: list[str]) -> None:
    if name == "dvc":
        from dvc.cli import main

        sys.argv = [name, *words]
        sys.exit(main(words))
    sys.path[0] = os.getcwd()
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    with Server(sys.argv[1], Program) as listening:
        listening.serve_forever()

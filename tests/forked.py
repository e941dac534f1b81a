"""The program, loaded once and forked for each command that a test types.

Loading `dr` with boto3 and paramiko costs 0.3 to 1.3 s of CPU, and the suite types more than a thousand commands. A
server that has loaded them (one for each worker) forks a process of its own for each command: it has its own
environment, directory, streams, signals and exit code, as a started one has. Only the loading is shared.

Where the start itself is the point (streams that are closed, a locale, what is loaded), a test starts
`python -m dr`: `Site.start`.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import coverage
import pydantic

from dr.tools import s3_client
from dr.tools.network import Way
from dr.tools.secrets import S3Keys

ROOT = Path(__file__).parents[1]
#: What is loaded where it is needed, and costs a command of a test 70 ms.
_LATE = (
    "boto3.session", "botocore.exceptions", "concurrent.futures.thread", "configparser", "difflib", "http.server",
    "jinja2", "obstore.store", "paramiko", "prometheus_client", "pydantic.json_schema", "rfc8785", "rich.console",
    "s3transfer.manager", "shamir_mnemonic", "statistics", "tempfile", "tenacity", "textwrap", "urllib3.exceptions",
    "yaml",
)  # fmt: skip
#: Seconds for one command, however busy the machine.
LIMIT = 900


class Forker:
    """A server that runs `dr` in forked processes. A context manager: it ends with its owner.

    Raises:
        subprocess.TimeoutExpired: by `run`, where a command takes more than `LIMIT` seconds; it is killed.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dr-forked-")
        self._path = f"{self._folder.name}/socket"
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "LC_"))}
        argv = [sys.executable, "-m", __name__, self._path]
        self._server = subprocess.Popen(
            argv, cwd=ROOT, env={**ours, "LANG": "C.UTF-8"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"loaded\n"

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()  # closes its stdin, which is what it ends by
        self._folder.cleanup()

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        also: Sequence[str] = (),
        ahead: float = 0.0,
        begun: Callable[[int], None] = lambda process: None,
    ) -> tuple[int, str, str]:
        """Run `dr` with `arguments`; return its exit code (below 0: the signal), what it wrote on stdout and stderr.

        Modules that it is to load `also` are kinds that tests define. Its clock is `ahead` by so many seconds. `begun`
        is given the id of its process, once there is one.
        """
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            told: dict[str, Any] = {"argv": list(arguments), "env": dict(env), "also": list(also), "ahead": ahead}
            code = self._ask({**told, "cwd": str(cwd), "out": str(out), "err": str(err)}, begun)
            return code, out.read_text(errors="surrogateescape"), err.read_text(errors="surrogateescape")

    def _ask(self, asked: dict[str, Any], begun: Callable[[int], None]) -> int:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rw") as stream:
            line.settimeout(LIMIT)
            line.connect(self._path)
            stream.write(json.dumps(asked) + "\n")
            stream.flush()
            process = int(stream.readline())
            begun(process)
            try:
                return int(stream.readline())
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(asked["argv"], LIMIT) from None


def _load() -> None:
    """Load all that `dr` may use, also what it loads late; make the classes that it makes late, and a client."""
    import dr

    for module in pkgutil.walk_packages(dr.__path__, "dr."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    for each in gc.get_objects():
        if isinstance(each, type) and str(each.__module__).startswith("dr."):
            dataclasses.is_dataclass(each)  # who asks has it made: see `dr.late_dataclass`
            if issubclass(each, pydantic.BaseModel):
                each.model_rebuild()
    s3_client.client("http://127.0.0.1:9", S3Keys("none", "none"), region="us-east-1", way=Way(), proxy="")
    gc.collect()
    gc.freeze()


def _serve(path: str) -> None:
    """Answer each connection in a process of its own, until the owner is gone."""
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        os.write(1, b"loaded\n")
        for line in _lines(listener):
            if os.fork() == 0:
                listener.close()
                _answer(line)
            line.close()


def _lines(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield each connection; end when stdin, which the owner holds, is closed."""
    while True:
        ready, _, _ = select.select([0, listener], [], [])
        if 0 in ready:
            return
        yield listener.accept()[0]


def _answer(line: socket.socket) -> NoReturn:
    """Fork the command, and tell its process id and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with line.makefile("rw") as stream:
        asked = json.loads(stream.readline())
        process = os.fork()
        if process == 0:
            _become(asked)
        stream.write(f"{process}\n")
        stream.flush()
        _, status = os.waitpid(process, 0)
        stream.write(f"{os.waitstatus_to_exitcode(status)}\n")
    os._exit(0)


def _become(asked: dict[str, Any]) -> NoReturn:
    """Be the command: its environment, directory and streams, then its `main`."""
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    _lead(asked["out"], asked["err"])
    if asked["ahead"]:
        _set_clock(timedelta(seconds=asked["ahead"]))
    sys.argv = [str(ROOT / "dr" / "__main__.py"), *asked["argv"]]
    code = 1
    try:
        coverage.process_startup(force=True)  # where the environment asks for it, as of a process that is started
        for name in asked["also"]:
            importlib.import_module(name)
        code = _main()
    except Exception:  # noqa: BLE001 - shown as an interpreter would, and the coverage of it kept
        traceback.print_exc()
    finally:
        _end(code)


def _set_clock(ahead: timedelta) -> None:
    """Let every session of this process read a clock that is ahead."""
    from dr.session import Session

    made = Session.__init__

    def wrong(self: Session, *args: Any, **given: Any) -> None:
        made(self, *args, **{"clock": lambda: datetime.now(UTC) + ahead, **given})

    Session.__init__ = wrong  # type: ignore[method-assign]


def _lead(out: str, err: str) -> None:
    """Lead stdin nowhere, stdout and stderr into files, and close all that belongs to the server."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, opened in enumerate((os.open(os.devnull, os.O_RDONLY), os.open(out, flags), os.open(err, flags))):
        os.dup2(opened, number)
    os.closerange(3, 256)


def _main() -> int:
    """Run `dr`; return its exit code."""
    from dr.cli.main import main

    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does: threads, what is registered for the end, streams."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])

"""The program, loaded once and forked for each command that a test types.

Loading `dr` with boto3 and paramiko costs 0.3 to 1.3 s of CPU, and the suite types more than a thousand commands. A
server that has loaded them (one for all workers) forks a process of its own for each command: it has its own
environment, directory, streams, signals and exit code, as a started one has. Only the loading is shared.

Where the start itself is the point (streams that are closed, a locale, what is loaded), a test starts
`python -m dr`: `Site.interpreter`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TextIO

import coverage
import pydantic

from dr.report import html
from dr.tools import s3_client
from dr.tools.network import Way
from dr.tools.secrets import S3Keys

ROOT = Path(__file__).parents[1]
#: What is loaded where it is needed, and costs a command of a test 70 ms.
_LATE = (
    "boto3.session", "botocore.exceptions", "concurrent.futures.thread", "configparser", "difflib", "http.server",
    "jinja2", "obstore.store", "paramiko", "prometheus_client", "pydantic.json_schema", "pydantic.type_adapter",
    "rfc8785", "rich.console", "s3transfer.manager", "shamir_mnemonic", "statistics", "tempfile", "tenacity",
    "textwrap", "urllib3.exceptions", "yaml",
)  # fmt: skip
_DECLARED = {
    "targets/disk.yaml": "target: disk\nlocal: {path: /disk}\n",
    "plans/share.yaml": (
        "system: share\ntitle: A share\nowner: {role: Data manager}\nobjectives: {rto: 1h, rpo: 4h, mtd: 8h}\n"
        "sources: {docs: {files: {paths: [/srv]}}}\ntargets: [disk]\ndrill: {checks: [manifest]}\n"
    ),
}
#: Bytes of a large page, and what asks the kernel to make one (`man 2 madvise`).
_LARGE, _MADV_COLLAPSE = 2 << 20, 25
#: Seconds for one command, however busy the machine.
LIMIT = 900


class Forker:
    """A server that runs `dr` in forked processes. A context manager: it ends with its owner.

    Raises:
        subprocess.TimeoutExpired: by `run`, where a command takes more than `LIMIT` seconds; it is killed.
    """

    def __init__(self, shared: str | None = None) -> None:
        """Start the server, or share that of another process, by its `path`."""
        self._folder = tempfile.TemporaryDirectory(prefix="dr-forked-")
        self.path = shared or f"{self._folder.name}/socket"
        self._server = None if shared else self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        """Start the server, which loads while others do so too: who asks before it has, waits."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "LC_"))}
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(64)
            number = listener.fileno()
            return subprocess.Popen(
                [sys.executable, "-m", __name__, str(number)],
                cwd=ROOT,
                env={**ours, "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                pass_fds=[number],
            )

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
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
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            told: dict[str, Any] = {"argv": list(arguments), "env": dict(env), "also": list(also), "ahead": ahead}
            running = self._ask({**told, "cwd": str(cwd)}, [os.open(place, flags, 0o666) for place in (out, err)])
            begun(running.pid)
            try:
                code = running.wait(LIMIT)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
            return code, out.read_text(errors="surrogateescape"), err.read_text(errors="surrogateescape")

    def start(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, also: Sequence[str] = ()
    ) -> Running:
        """Start `dr` with `arguments`, and return while it runs; what it writes comes through pipes."""
        (out, into), (err, along) = os.pipe(), os.pipe()
        told = {"argv": list(arguments), "env": dict(env), "also": list(also), "ahead": 0.0, "cwd": str(cwd)}
        running = self._ask(told, [into, along])
        running.stdout, running.stderr = (open(end, encoding="utf-8") for end in (out, err))  # noqa: SIM115 - its own
        return running

    def _ask(self, asked: dict[str, Any], streams: list[int]) -> Running:
        """Have a command started; its stdout and stderr are handed over."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(self.path)
        text = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(line, [text], streams)
        line.sendall(text[sent:])
        for stream in streams:
            os.close(stream)
        return Running(asked["argv"], line)


class Running:
    """A command that runs, with what tests use of `subprocess.Popen`."""

    def __init__(self, args: list[str], line: socket.socket) -> None:
        self.args, self._line = args, line
        self._told = line.makefile("r")
        self.pid = int(self._told.readline())
        self.returncode: int | None = None
        self.stdout: TextIO | None = None
        self.stderr: TextIO | None = None
        self._guard = threading.Lock()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in filter(None, (self.stdout, self.stderr)):
            stream.close()
        self.wait()

    def poll(self) -> int | None:
        """Return how it ended; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ended, and return how.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._line], [], [], left)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            with self._guard:
                if self.returncode is None:
                    self.returncode = int(self._told.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what it wrote on stdout and stderr, once it ended.

        Raises:
            subprocess.TimeoutExpired: it still ran, and is killed.
        """
        assert self.stdout and self.stderr
        with ThreadPoolExecutor(2) as pool:
            read = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return read[0].result(), read[1].result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


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
    _declare()
    for template in html.templates().list_templates(["j2"]):
        html.templates().get_template(template)
    gc.collect()
    gc.freeze()
    _in_large_pages()


def _declare() -> None:
    """Read a plan and a target, whose models are made by it, and open a catalog."""
    from dr.session import Session
    from dr.tools.state_dir import StateDir

    with tempfile.TemporaryDirectory() as folder:
        for place, text in _DECLARED.items():
            path = Path(folder, "config", place)
            path.parent.mkdir(parents=True)
            path.write_text(text)
        session = Session(path.parents[1], StateDir(Path(folder, "state")))
        assert set(session.declarations.plans) == {"share"}, session.declarations.faults
        assert session.catalog.points("share") == [], "nothing"
        session.close()


def _in_large_pages() -> None:
    """Lay what is loaded into large pages: a fork copies the table of pages, which is most of what it costs then."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, _, _, inode, *name = line.split()
        first, end = (int(number, 16) for number in place.split("-"))
        if rights == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            for start in range(-(-first // _LARGE) * _LARGE, end - _LARGE + 1, _LARGE):
                libc.madvise(start, _LARGE, _MADV_COLLAPSE)  # an old kernel does not know it: then all is as it was


def _serve(number: int) -> None:
    """Fork a process for each command that is asked for, and tell how it ended, until the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    asking: dict[int, tuple[int, socket.socket]] = {}  # by what tells of a process's end: its id, and who waits for it
    with socket.socket(fileno=number) as listener:
        while 0 not in (ready := _to_read([0, listener, *asking])):
            for ended in asking.keys() & ready:
                _tell_end(ended, *asking.pop(ended))
            if listener in ready:
                line = listener.accept()[0]
                process = _begin(line)
                asking[os.pidfd_open(process)] = process, line


def _to_read(places: list[int | socket.socket]) -> list[int | socket.socket]:
    """Wait until there is something to be read, and return where."""
    return select.select(places, [], [])[0]


def _begin(line: socket.socket) -> int:
    """Fork the command that is asked for; tell and return its process id."""
    asked, streams, _, _ = socket.recv_fds(line, 1 << 16, 2)
    while not asked.endswith(b"\n"):
        asked += line.recv(1 << 16)
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(json.loads(asked), streams)
    for stream in streams:
        os.close(stream)
    _tell(line, process)
    return process


def _tell_end(ended: int, process: int, line: socket.socket) -> None:
    """Tell who waits for a process how it ended."""
    os.close(ended)
    with line:
        _tell(line, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def _tell(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked may have gone
        line.sendall(f"{number}\n".encode())


def _become(asked: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be the command: its environment, directory and streams, then its `main`."""
    os.environ.clear()
    os.environ.update(asked["env"])
    tempfile.tempdir = None  # that of the server, until it is asked for again
    time.tzset()
    os.chdir(asked["cwd"])
    _lead(streams)
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


def _lead(streams: Sequence[int]) -> None:
    """Lead stdin nowhere, stdout and stderr where they were asked to, and close all that belongs to the server."""
    for number, opened in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
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
    _serve(int(sys.argv[1]))

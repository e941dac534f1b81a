"""The stage of the demos: a directory of their own, the program run as typed, and nothing left when they end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from servers.s3 import S3Server

PROJECT = Path(__file__).parents[1]


def plan_files(names: tuple[str, ...], moved: Mapping[str, str]) -> dict[str, str]:
    """Return some of the project's example plans, and its targets, moved to where a demo has its district."""
    plans = [PROJECT / "plans" / f"{name}.yaml" for name in names]
    found = {}
    for path in [*plans, *sorted(PROJECT.glob("targets/*.yaml"))]:
        text = path.read_text("utf-8")
        for old, new in moved.items():
            text = text.replace(old, new)
        found[str(path.relative_to(PROJECT))] = text
    return found


def write_config(root: Path, names: tuple[str, ...], moved: Mapping[str, str], server: S3Server) -> None:
    """Write plans, targets and S3 keys below `root`: those that back up, that lengthen locks, and that may do all."""
    for name, user in (("keys", "writer"), ("lock-keys", "keeper"), ("admin-keys", "admin")):
        server.write_keys(root / name, user)
    for name, text in plan_files(names, {"http://127.0.0.1:8333": server.endpoint, **moved}).items():
        path = root / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def finish(argv: list[str], cwd: Path) -> tuple[int, str, str]:
    """Run a program to its end; return its code, stdout and stderr. When we are stopped, it is asked to stop first."""
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C reaches it once, through us
    ) as child:
        try:
            out, errors = child.communicate()
        except BaseException:
            # It ends what it started itself; only when it does not, it is ended.
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=20)
            child.kill()
            raise
    return child.returncode, out, errors


class Stage:
    """A demo's steps, each said in one line before it is done."""

    def __init__(self, root: Path, report: Path) -> None:
        self.root, self.report = root, report
        self._number = 0

    def step(self, text: str) -> None:
        """Say what comes."""
        self._number += 1
        print(f"\n{self._number:2d}. {text}", flush=True)

    def dr(self, *arguments: str, expect: int = 0, show: bool = True) -> str:
        """Run the program as typed, and show it; stop the demo when it ends otherwise than expected."""
        if show:
            print(f"    $ dr {shlex.join(arguments)}".replace(str(self.root), "…"), flush=True)
        whole = [sys.executable, "-m", "dr", "--config", str(self.root / "config"), "--state", str(self.root / "state")]
        code, out, errors = finish([*whole, *arguments], self.root)
        for line in (out + errors).splitlines() if show else ():
            print(f"      {line.replace(str(self.root), '…')}", flush=True)
        if code != expect:
            print(errors, file=sys.stderr)
            raise SystemExit(f"demo: dr {arguments[0]} ended with {code}, not {expect}")
        return out

    def keep(self, *names: str) -> Path:
        """Keep reports beside the project; return the first."""
        self.report.mkdir(parents=True, exist_ok=True)
        kept = [Path(shutil.copy(self.root / name, self.report / name)) for name in names]
        return kept[0]


def stopped_by_signals() -> None:
    """Turn the first of the signals that ask us to stop into a KeyboardInterrupt; the clean-up is not disturbed."""
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in asking:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in asking:
        signal.signal(each, stop)


def perform(play: Callable[[Path], Path], *, clear: Callable[[], None]) -> None:
    """Play a demo in a directory of its own, which is removed whatever happens; `clear` ends what may still run.

    `play` takes the directory and returns the report it kept.
    """
    stopped_by_signals()
    root = Path(tempfile.mkdtemp(prefix="dr-demo-"))
    root.chmod(0o711)  # servers of other users have their places below
    began = time.monotonic()
    try:
        report = play(root)
        print(f"\nDone in {time.monotonic() - began:.0f} s. Nothing is left running. The report: {report}")
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("\ndemo: stopped; nothing is left running", file=sys.stderr, flush=True)
        raise SystemExit(130) from None
    finally:
        clear()
        shutil.rmtree(root, ignore_errors=True)

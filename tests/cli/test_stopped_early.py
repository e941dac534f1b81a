"""Who stops the program gets one sentence and 130 at any instant, also while it loads and while it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dr

#: Holds the program where it is about to load a module, or where it has ended: says so in a pipe, and waits, looking
#: around again and again: of a signal that comes just before a long wait begins, Python tells only after the wait.
HOLD = """
import atexit, os, sys, time
def hold():
    with open(os.environ["READY"], "w") as ready:
        ready.write("x")
    while True:
        time.sleep(0.01)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            sys.meta_path.remove(self)
            hold()
if os.environ["AT"] == "the end":
    atexit.register(hold)
else:
    sys.meta_path.insert(0, Finder())
"""
ENTRIES = {"module": ["-m", "dr"], "script": ["-c", "import sys; from dr.__main__ import main; sys.exit(main())"]}
SENTENCE = "dr: stopped on request. Start the command again to finish the work\n"


def stopped(tmp_path: Path, at: str, number: int, *arguments: str, entry: str = "module") -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of the program, stopped by a signal where it was held."""
    (tmp_path / "sitecustomize.py").write_text(HOLD)
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    env = {"PATH": os.environ["PATH"], "AT": at, "READY": str(ready), "HOME": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(dr.__file__).parents[1])])
    argv = [sys.executable, *ENTRIES[entry], "--config", str(tmp_path), "--state", str(tmp_path / "state"), *arguments]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ready.read_text()
        process.send_signal(number)
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["dr.cli.main", "click", "dr.cli.context", "dr.errors", "dr.cli.declare", "the end"])
def test_a_stop_at_any_instant_is_one_sentence_and_130(tmp_path: Path, at: str, number: int) -> None:
    assert stopped(tmp_path, at, number, "schema", "kit")[::2] == (130, SENTENCE)


@pytest.mark.parametrize("at", ["dr.cli.main", "dr.cli.declare"])
def test_the_program_as_installed_is_stopped_alike(tmp_path: Path, at: str) -> None:
    assert stopped(tmp_path, at, signal.SIGINT, "schema", "kit", entry="script")[::2] == (130, SENTENCE)


@pytest.mark.parametrize("at", ["click", "dr.cli.declare"])
def test_the_document_is_told_all_the_same(tmp_path: Path, at: str) -> None:
    code, out, err = stopped(tmp_path, at, signal.SIGINT, "schema", "kit", "--json")
    assert (code, err) == (130, SENTENCE)
    told = {"what": "stopped on request", "where": "", "hint": "start the command again to finish the work"}
    assert json.loads(out) == {"schema": 1, "command": "schema", "warnings": [], "errors": [told]}


def test_the_installed_program_enters_where_it_listens() -> None:
    assert 'dr = "dr.__main__:main"' in (Path(dr.__file__).parents[1] / "pyproject.toml").read_text()


def test_a_stop_that_falls_where_nothing_can_be_raised_still_stops(tmp_path: Path) -> None:
    """Python only prints what is raised while an object is thrown away, as module locks are while modules load."""
    program = (
        "import os, signal, threading\n"
        "from dr.cli import main\n"
        "class Thrown:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "def program(**given):\n"
        "    Thrown()\n"
        "    threading.Event().wait(300)\n"
        "main.program, main.require_values = program, lambda *given: {}\n"
        "main.main(['status'])\n"
    )
    env = {"PYTHONPATH": str(Path(dr.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, SENTENCE)

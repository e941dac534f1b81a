"""What is told while a command works: live on a terminal, lines elsewhere, and events in a file."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from rich.console import Console

import dr
from dr.cli.events import Events
from dr.cli.live import LiveView
from dr.tools import activity
from dr.tools.activity import Activity
from dr.tools.restic_events import Expected, told
from tests.conftest import Site
from tests.waiting import LIMIT


def events_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def heard(act: Any) -> list[Activity]:
    told: list[Activity] = []
    with activity.watching(told.append):
        act()
    return told


def test_events_tell_each_run_from_its_start_to_its_end(files_site: Site) -> None:
    path = files_site.root / "events.jsonl"
    files_site.dr("--events", str(path), "backup", "share")
    files_site.dr("verify", "share", "--events", str(path))
    files_site.dr("drill", "share", "--events", str(path))
    told = events_in(path)
    assert {event["schema"] for event in told} == {1}
    assert all(event["at"].endswith("Z") for event in told)
    starts = [event["command"] for event in told if event["event"] == "command_started"]
    ends = [(event["command"], event["exit_code"]) for event in told if event["event"] == "command_ended"]
    assert (starts, ends) == (["backup", "verify", "drill"], [("backup", 0), ("verify", 0), ("drill", 0)])
    runs = {event["run_id"]: event["verb"] for event in told if event["event"] == "started"}
    assert sorted(runs.values()) == ["backup", "drill", "verify", "verify"], "one a target of the proof"
    ended = {event["run_id"]: event for event in told if event["event"] == "ended"}
    assert ended.keys() == runs.keys()
    assert {(event["outcome"], event["exit_code"], event["system"]) for event in ended.values()} == {("ok", 0, "share")}
    stored = [event for event in told if event["event"] == "step" and event["step"] == "store"]
    assert {(event["source"], event["target"]) for event in stored} == {("docs", "disk"), ("docs", "vault")}
    phases = [event["step"] for event in told if event["event"] == "step" and event["verb"] == "drill"]
    assert list(dict.fromkeys(phases)) == ["declare", "provision", "restore", "start", "verify", "send evidence"]
    read = [event for event in told if event["event"] == "progress" and event["step"] == "read stored bytes"]
    assert read and read[-1]["bytes"] == read[-1]["total_bytes"] > 250_000
    assert "letter.txt" not in path.read_text() and "file-0" not in path.read_text(), "no file is named"
    assert path.stat().st_mode & 0o777 == 0o600


def test_off_a_terminal_a_line_tells_that_a_run_starts_and_one_that_it_ends(files_site: Site) -> None:
    ran = files_site.dr("backup", "share")
    first, second, *rest = ran.out.splitlines()
    assert first.startswith("share: backup started (") and second.startswith("share: backup ended after ")
    assert ": ok (" in second and len(rest) == 1 and ran.err == ""
    assert files_site.dr("backup", "share", "-q").out == ""
    assert files_site.dr("backup", "share", "--json").document["runs"][0]["outcome"] == "ok"


def test_events_that_cannot_be_written_stop_the_command_before_it_begins(files_site: Site) -> None:
    told = files_site.dr("backup", "share", "--events", str(files_site.root / "no" / "events"), code=2).err
    assert "the events cannot be written there" in told and told.count("\n") == 1
    assert not (files_site.root / "disk").exists(), "nothing was touched"


def test_who_reads_no_more_does_not_end_the_work(files_site: Site) -> None:
    running = files_site.start("backup", "share")
    assert running.stdout is not None
    running.stdout.close()
    running.wait(LIMIT)
    assert files_site.dr("points", "--json").document["points"][0]["outcome"] == "ok"


def test_a_reader_of_events_that_goes_away_ends_the_file_and_not_the_work(files_site: Site) -> None:
    ran = files_site.dr("backup", "share", "--events", "/dev/full")
    assert ran.err.count("the events can no longer be written: No space left on device") == 1


def test_progress_is_written_once_a_second_and_when_a_step_is_whole(tmp_path: Path) -> None:
    file = io.StringIO()
    events = Events(file, lambda why: pytest.fail(why))

    def work() -> None:
        with activity.run("backup", "share", "r"), activity.step("store", source="docs", target="disk"):
            for done in range(0, 1001, 10):
                activity.progress(done, 1000)

    with activity.watching(events):
        work()
    told = [json.loads(line) for line in file.getvalue().splitlines()]
    done = [event["bytes"] for event in told if event["event"] == "progress"]
    assert (done[0], done[-1]) == (0, 1000) and len(done) < 10


def test_a_pools_thread_works_in_the_name_of_its_run() -> None:
    def work() -> None:
        with activity.run("drill", "share", "r"), activity.step("restore"), ThreadPoolExecutor(2) as pool:
            pool.submit(activity.carried(lambda: activity.progress(1, 2))).result()
            pool.submit(lambda: activity.progress(5, 6)).result()  # nobody knows whose that is

    (told,) = [each for each in heard(work) if each.event == "progress"]
    assert (told.system, told.step, told.amount.bytes, told.amount.total_bytes) == ("share", "restore", 1, 2)


def test_what_restic_is_not_to_count_is_told_by_who_walked_it() -> None:
    line = '{"message_type":"status","percent_done":0,"files_done":3,"bytes_done":5000%s}'

    def work() -> None:
        with activity.run("backup", "share", "r"), activity.step("store"):
            told(line % "", Expected(files=9, bytes=7000))
            told(line % ',"total_files":8,"total_bytes":6000')

    amounts = [each.amount for each in heard(work) if each.event == "progress"]
    assert [(x.files, x.total_files, x.bytes, x.total_bytes) for x in amounts] == [
        (3, 9, 5000, 7000),
        (3, 8, 5000, 6000),
    ]


def test_a_step_keeps_the_name_source_and_target_of_the_one_around_it() -> None:
    def work() -> None:
        with activity.run("drill", "share", "r"), activity.step("restore", target="disk"):
            with activity.step("", source="docs"):
                pass

    inner = [each for each in heard(work) if each.source == "docs"]
    assert [(each.event, each.step, each.target) for each in inner] == [
        ("step", "restore", "disk"), ("step_ended", "restore", "disk")
    ]  # fmt: skip


def test_the_live_view_shows_the_innermost_work_how_far_it_is_and_leaves_a_line() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=150, color_system=None)
    with LiveView(console) as view, activity.watching(view), activity.run("backup", "share", "run-1"):
        with activity.step("capture", source="docs"), activity.step("store", target="disk"):
            activity.progress(500_000_000, 2_000_000_000, files=3, total_files=9)
            view._progress.refresh()
            frame = screen.getvalue().rpartition("\x1b[2K")[2]
            assert "share  backup  store docs → disk" in frame and "capture" not in frame
            assert "500 MB of 2.0 GB, 3 of 9 files" in frame
        activity.ended("ok", exit_code=0, seconds=75.0)
    assert "share: backup ended after 1 min 15 s: ok (run-1)" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in screen.getvalue(), "the cursor is back"


def test_on_a_terminal_the_work_is_shown_while_it_lasts_and_stdout_has_the_result_alone(files_site: Site) -> None:
    ours, theirs = pty.openpty()
    env = {**files_site.env, "TERM": "xterm-256color", "COLUMNS": "150"}
    running = subprocess.Popen(
        files_site.argv("backup", "share"), env=env, cwd=files_site.root, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(ours, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()
    out = running.communicate(timeout=LIMIT)[0].decode()
    reader.join(LIMIT)
    os.close(ours)
    assert running.returncode == 0
    assert b"share  backup" in shown and b"share: backup ended after" in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h"), "the cursor is back"
    assert out.startswith("share: ok, 6 files") and out.count("\n") == 1


DEAF = """
import threading
from dr.cli import main
def program(**given):
    held = threading.Event()
    while True:
        try:
            print("at work", flush=True)
            held.wait()
        except BaseException:
            print("heard", flush=True)
main.program, main.require_values = program, lambda *given: {}
main.main(["backup"])
"""


@contextmanager
def at_work(code: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run code that says when it is at work; return its process and the lines that it writes after that."""
    env = {"PYTHONPATH": str(Path(dr.__file__).parents[1])}
    argv = [sys.executable, "-c", code]
    running = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "at work\n"
        yield running, running.stdout
    finally:
        running.kill()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_second_stop_ends_at_once_what_does_not_hear_the_first(at_once: bool) -> None:
    with at_work(DEAF) as (running, lines):
        running.send_signal(signal.SIGINT)
        if not at_once:
            assert lines.readline() == "heard\n"
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert "dr: stopped at once. Start the command again: it first puts right what is left\n" in err


UNWINDING = """
import threading
from dr.cli import main
def program(**given):
    held = threading.Event()
    try:
        print("at work", flush=True)
        held.wait()
    finally:
        print("puts things right", flush=True)
        held.wait(1.0)
        print("all is right", flush=True)
main._PATIENCE_SECONDS = 600.0  # however busy the machine
main.program, main.require_values = program, lambda *given: {}
main.main(["backup"])
"""


def test_a_second_stop_leaves_what_the_first_began_to_put_right_its_moment() -> None:
    with at_work(UNWINDING) as (running, lines):
        running.send_signal(signal.SIGINT)
        assert lines.readline() == "puts things right\n"
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=LIMIT)
    assert running.returncode == 130 and out.startswith("all is right\n")

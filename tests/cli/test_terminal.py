"""On a terminal: tables in colour, and a question before what cannot be undone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Site
from tests.waiting import LIMIT

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _typed(site: Site, *arguments: str, answer: str = "") -> tuple[int, str]:
    """Run the program on a terminal of its own; type `answer` once it asks. Return its code and what was shown."""
    ours, theirs = pty.openpty()
    env = {**site.env, "TERM": "xterm-256color", "COLUMNS": site.env.get("COLUMNS", "160")}
    running = subprocess.Popen(
        site.argv(*arguments), env=env, cwd=site.root, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    shown, until = b"", time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the other end is closed: it has ended
            break
        shown += block
        if answer and b"Go on?" in shown:
            os.write(ours, f"{answer}\n".encode())
            answer = ""
    os.close(ours)
    return running.wait(timeout=LIMIT), shown.decode()


@pytest.fixture
def held(files_site: Site) -> Site:
    files_site.dr("backup", "share")
    return files_site


def test_the_board_is_coloured_on_a_terminal_and_plain_elsewhere(held: Site) -> None:
    held.dr("drill", "share")
    plan = held.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("rpo: 4h", "rpo: 1s"))
    time.sleep(1)
    code, shown = _typed(held, "status")
    assert code == 4
    assert "\x1b[31mmissed (" in shown and "\x1b[32mmet (" in shown
    plain = held.dr("status", code=4).out
    assert not _COLOUR.search(plain)
    assert _COLOUR.sub("", shown).split()[:6] == plain.split()[:6], "the same words in the same order"


def test_colour_is_left_out_where_it_is_not_wanted(held: Site) -> None:
    held.env["NO_COLOR"] = "1"
    code, shown = _typed(held, "points")
    assert code == 0 and "share" in shown
    assert not re.search(r"\x1b\[3[0-7]m", shown)
    assert len([line for line in shown.splitlines() if line.strip()]) == 2, "a head and a row"
    held.env["COLUMNS"] = "80"
    shown = _typed(held, "points")[1]
    (point,) = held.dr("points", "--json").document["points"]
    assert point["run_id"] in shown, "an id is never broken, so that it can be copied"
    assert re.search(r"(?m)^SYSTEM +.*share", _COLOUR.sub("", shown)), "a name and a value a line"


def test_a_recovery_asks_first_and_a_no_touches_nothing(held: Site) -> None:
    place = held.root / "back"
    code, shown = _typed(held, "recover", "share", "--to", str(place), answer="n")
    assert code == 2 and "would recover share into" in shown and "nothing was done" in shown
    assert not place.exists()
    code, shown = _typed(held, "recover", "share", "--to", str(place), answer="y")
    assert code == 0 and "recovery ok" in shown
    source: Path = held.root / "source"
    assert (place / "docs" / str(source)[1:] / "letter.txt").read_text() == "a letter\n"


def test_without_a_terminal_nobody_can_be_asked(held: Site) -> None:
    place = held.root / "back"
    assert "--yes" in held.dr("recover", "share", "--to", str(place), code=2).err
    foreseen = held.dr("recover", "share", "--to", str(place), "--dry-run", "--json").document
    assert foreseen["dry_run"] and "would recover share" in foreseen["would"] and foreseen["drills"] == []
    assert not place.exists()

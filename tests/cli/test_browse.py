"""`dr browse`: the points of a system on a full screen, walked through by keys; what is ticked comes back as typed."""

from __future__ import annotations

import asyncio
import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from dr.cli.browser.app import Browser
from dr.cli.browser.shelf import Shelf
from dr.operations.drill import recover
from dr.queries.file_pages import FilePages
from tests.conftest import Site
from tests.waiting import LIMIT, soon

NAME = "letter [1]*.txt"
Story = Callable[[Browser, Pilot[None]], Awaitable[None]]


@pytest.fixture
def term(files_site: Site) -> Site:
    """Two points with two versions of a letter, whose name is a pattern that its neighbour matches."""
    source = files_site.root / "source"
    (source / "letter 1x.txt").write_text("of a neighbour\n")
    for version in ("first", "second"):
        (source / NAME).write_text(f"the {version} version\n")
        files_site.dr("backup", "share")
    return files_site


def told(site: Site, story: Story) -> None:
    """Play a story on a screen of 80 columns and 24 lines, without a terminal."""
    session = site.session()
    (loaded,) = session.chosen(["share"])

    async def play(files: FilePages) -> None:
        browser = Browser(Shelf("share", "", files, lambda asked: recover(session, loaded, asked)))
        async with browser.run_test(size=(80, 24)) as pilot:
            await settled(browser, pilot)
            await story(browser, pilot)

    with FilePages(session, loaded, say=lambda what, why: pytest.fail(f"{what}: {why}")) as files:
        asyncio.run(play(files))
    session.close()


async def settled(browser: Browser, pilot: Pilot[None]) -> None:
    await pilot.pause()
    await browser.workers.wait_for_complete()
    await pilot.pause()


async def press(browser: Browser, pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(browser, pilot)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait for what a worker shows that itself waits for a person."""

    async def seen() -> None:
        while not condition():
            await pilot.pause(0.02)

    await asyncio.wait_for(seen(), LIMIT)


def screen(browser: Browser) -> list[str]:
    """The lines on the screen, as the picture of it has them."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(
        r'<text [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', browser.export_screenshot()
    ):
        lines.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
    return [" ".join("".join(text for _, text in sorted(parts)).split()) for _, parts in sorted(lines.items())]


def shown(browser: Browser) -> str:
    """All words on the screen, without the frames around them."""
    return " ".join(re.sub(r"[\u2500-\u259f]", " ", " ".join(screen(browser))).split())


async def sees(browser: Browser, pilot: Pilot[None], *texts: str) -> None:
    """Wait until all of it is on the screen."""
    await until(pilot, lambda: all(text in shown(browser) for text in texts))


def test_what_is_ticked_comes_back_equal_to_its_source_and_alone(term: Site) -> None:
    to, full = term.root / "back", term.root / "full"
    full.mkdir()
    (full / "own").touch()

    async def story(browser: Browser, pilot: Pilot[None]) -> None:
        first = shown(browser)
        assert "Points (UTC)" in first and first.count("not proven") == 3, first
        assert screen(browser)[-1] == "Tab Next pane space Tick r Recover / Find ? Help q Quit", "every key is told"
        await press(browser, pilot, "tab", "down", "right")
        await sees(browser, pilot, f"[ ] {NAME} 19 B")
        await press(browser, pilot, *["down"] * 3)
        await sees(browser, pilot, f"Versions of {NAME}", "to now")
        versions = [line for line in screen(browser) if "1 point" in line]
        assert len(versions) == 2 and "to now" in versions[0] and "19 B" in versions[0] and "18 B" in versions[1]
        await press(browser, pilot, "space")
        await sees(browser, pilot, f"[x] {NAME}", "; 1 ticked")
        await pilot.press("r")
        await sees(browser, pilot, "Recover what is ticked", "1 file, 19 B, as of")
        await _answer(browser, pilot, full)
        await sees(browser, pilot, "the directory is not empty")
        await _answer(browser, pilot, to)
        await sees(browser, pilot, "recovery ok: 1 file, 19 B")
        assert "each compared with its hash: ok" in shown(browser) and "ticked" not in screen(browser)[0]
        assert [done.record.outcome for done in browser.done] == ["ok"]

    told(term, story)
    came = [path for path in to.rglob("*") if path.is_file()]
    assert came == [to / "docs" / str(term.root / "source")[1:] / NAME]
    assert came[0].read_bytes() == (term.root / "source" / NAME).read_bytes()
    assert os.listdir(full) == ["own"]
    assert "asked for by a teacher" in term.dr("report", "--format", "json").out


async def _answer(browser: Browser, pilot: Pilot[None], to: Path) -> None:
    for name, value in (("#to", str(to)), ("#because", "asked for by a teacher")):
        await until(pilot, lambda name=name: browser.screen.query(name))  # type: ignore[misc]
        browser.screen.query_one(name, Input).value = value
    browser.screen.query_one("#because", Input).focus()
    await pilot.press("enter")


def test_a_large_folder_comes_page_by_page_and_what_is_found_is_gone_to(
    term: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("dr.queries.file_pages", "dr.cli.browser.tree"):
        monkeypatch.setattr(f"{module}.PAGE", 3)

    async def story(browser: Browser, pilot: Pilot[None]) -> None:
        await press(browser, pilot, "tab", "down", "right", "down", "right")
        await sees(browser, pilot, "file-2.bin", "… more behind file-2.bin")
        assert "file-3.bin" not in shown(browser)
        await press(browser, pilot, *["down"] * 4, "enter")
        await sees(browser, pilot, "file-4.bin")
        assert "more behind file" not in shown(browser)
        await press(browser, pilot, "slash", *"LETT", "enter")
        await sees(browser, pilot, "3 found")
        found = browser.screen.query_one("#found", OptionList)
        found.highlighted = next(n for n, each in enumerate(found.options) if NAME in str(each.prompt))
        await press(browser, pilot, "enter")
        await sees(browser, pilot, f"Versions of {NAME}", "[ ] " + NAME + " 19 B")
        newest = browser.point
        await press(browser, pilot, "tab", "down", "enter")
        await sees(browser, pilot, f"[ ] {NAME} 18 B")
        assert browser.point is not None and newest is not None
        assert browser.point.consistency_time < newest.consistency_time
        await press(browser, pilot, "question_mark")
        await sees(browser, pilot, "tick a file")
        await press(browser, pilot, "escape", "slash", *"zq", "enter")
        await sees(browser, pilot, "nothing is like 'zq'")

    told(term, story)


def test_on_a_terminal_it_starts_and_q_ends_it(term: Site) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before, text = termios.tcgetattr(theirs), bytearray()
    running = subprocess.Popen(
        term.argv("browse", "share"), env={**term.env, "TERM": "xterm-256color", "NO_COLOR": "1"}, cwd=term.root,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip

    def read(wanted: bytes) -> bool:
        if select.select([ours], [], [], 0.05)[0]:
            text.extend(os.read(ours, 1 << 16))
        return wanted in text or running.poll() is not None

    assert soon(lambda: read(b"not proven")) and running.poll() is None, text
    os.write(ours, b"q")
    assert soon(lambda: read(b"never written")) and running.wait(timeout=LIMIT) == 0, text
    assert b"Traceback" not in text and termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_without_a_terminal_or_its_library_one_sentence_says_so(files_site: Site) -> None:
    for typed in ([], ["--json"]):
        ran = files_site.dr("browse", "share", *typed, code=2)
        assert "needs a terminal of its own" in ran.out + ran.err and ran.err.count("\n") == 1
    hidden = files_site.root / "hidden"
    hidden.mkdir()
    (hidden / "textual.py").write_text("raise ImportError\n")
    running = files_site.interpreter("browse", "share", PYTHONPATH=f"{hidden}:{files_site.env['PYTHONPATH']}")
    _, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 1 and "pip install 'dr-orchestrator[browse]'" in err and err.count("\n") == 1, err

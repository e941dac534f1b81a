"""The manual pages say all that the program takes, and are pages that a reader of manuals can show."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dr.cli.main import program
from dr.errors import EXIT_STATUS
from dr.plan.schema import LENT, schema

ROOT = Path(__file__).parents[2]
#: What a page is written with: of each macro of man(7), how many words may follow.
MACROS = {".TH": (5, 5), ".SH": (1, 9), ".SS": (1, 9), ".TP": (0, 0), ".PP": (0, 0), ".br": (0, 0)}
#: What may not come at once after a macro, or nothing would stand under it.
EMPTY_BEFORE = {
    ".SH": (".SH",),
    ".SS": (".SH", ".SS", ".TP", ".PP", ".br"),
    ".TP": (".SH", ".SS", ".TP", ".PP", ".br"),
    ".PP": (".SH", ".SS", ".TP", ".PP", ".br"),
}
#: Variables that are set for the programs that are started, or are no setting of this one.
OF_OTHERS = re.compile(
    r"PATH|HOME|TERM|PYTHONPATH|PG[A-Z]+|RESTIC_[A-Z_]+|INVOCATION_ID|MONITOR_[A-Z_]+|RUNTIME_DIRECTORY"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "scripts" / "manual.py", "-o", place], check=True)
    return {path.relative_to(place).as_posix(): path.read_text("ascii") for path in place.rglob("*.*")}


def faults(text: str) -> list[str]:
    """Return what is wrong in a page: by rules that hold anywhere, and by what this machine has to show pages with."""
    lines = text.splitlines()
    found = [] if lines[0].startswith(".TH ") and lines[1] == ".SH NAME" else ["it does not begin as a page does"]
    for line, after in zip(lines, [*lines[1:], ".SH"], strict=True):
        macro, _, rest = line.partition(" ")
        if line[:1] in (".", "'"):
            least, most = MACROS.get(macro, (1, 0))
            words = re.findall(r'"[^"]*"|\S+', rest)
            if not least <= len(words) <= most:
                found.append(f"a line that is not a macro: {line}")
            if after.startswith(EMPTY_BEFORE.get(macro, "\0")):
                found.append(f"nothing stands under: {line}")
        elif not line or line.count(r"\fB") != line.count(r"\fR"):
            found.append(f"an empty line, or bold that does not end: {line}")
        if re.search(r"\\(?!f[BR]|-|e|&|\[u[0-9A-F]{4}\])", line):
            found.append(f"a stray backslash: {line}")
    return found + list(_shown(text))


def _shown(text: str) -> Iterator[str]:
    groff = ["groff", "-man", "-ww", "-z"]
    for argv in (["mandoc", "-man", "-T", "lint", "-W", "warning"], [*groff, "-Tutf8"], [*groff, "-Tascii"]):
        if shutil.which(argv[0]):
            done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
            yield from (done.stdout + done.stderr).splitlines()


def plain(text: str) -> str:
    """Return a page's text without its marks."""
    for mark, letter in ((r"\fB", ""), (r"\fR", ""), (r"\-", "-"), (r"\&", ""), (r"\e", "\\")):
        text = text.replace(mark, letter)
    return re.sub(r"\\\[u([0-9A-F]{4})\]", lambda found: chr(int(found[1], 16)), text)


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """Yield each command, and those below it."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            if not below.hidden:
                yield from commands(below, click.Context(below, info_name=name, parent=context))


def test_every_command_with_each_of_its_options_is_in_the_manual(pages: dict[str, str]) -> None:
    parts = dict(re.findall(r"^\.S[SH] (.+)\n((?:(?!\.S[SH]).*\n)+)", plain(pages["man1/dr.1"]), re.MULTILINE))
    known = list(commands(program, click.Context(program, info_name="dr")))
    assert len(known) > 30
    for context in known:
        part = parts["OPTIONS" if context.parent is None else context.command_path]
        for option in context.command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert all(re.search(rf"^.*{re.escape(name)}\b", part, re.MULTILINE) for name in option.opts), (
                    option.opts
                )
                assert option.help is None or " ".join(option.help.split()).replace("`", "") in part


def test_the_manual_says_how_commands_end_and_what_they_read(pages: dict[str, str]) -> None:
    text = plain(pages["man1/dr.1"])
    for code, meaning in EXIT_STATUS.items():
        assert f".TP\n{code}\n{meaning[:1].upper()}{meaning[1:]}.\n" in text
    read = set()
    for path in (ROOT / "dr").rglob("*.py"):
        read |= set(re.findall(r"(?:env|environ)(?:\.get\(|\[)\"([A-Z_]+)\"", path.read_text()))
    assert {"DR_CONFIG", "DR_STATE", "DR_RESTIC", "XDG_STATE_HOME"} <= read
    assert [name for name in sorted(read) if name not in text and not OF_OTHERS.fullmatch(name)] == []
    assert all(place in text for place in ("plans/*.yaml", "kit.yaml", "catalog.sqlite", "secrets/"))


def test_every_key_of_plans_and_targets_is_in_the_manual(pages: dict[str, str]) -> None:
    tags = re.findall(r"^\.TP\n([a-z0-9_]+)$", plain(pages["man5/dr-plan.5"]), re.MULTILINE)
    wanted = []
    for kind in ("plan", "target", "kit", "site"):
        whole = schema(kind)
        own = (part for name, part in whole.get("$defs", {}).items() if not name.startswith(LENT))
        for part in (whole, *own):
            wanted += [key for form in part.get("anyOf", [part]) for key in form.get("properties", {})]
    assert sorted(tags) == sorted(wanted)


def test_the_pages_are_sound(pages: dict[str, str]) -> None:
    assert set(pages) == {"man1/dr.1", "man5/dr-plan.5"}
    assert {name: faults(text) for name, text in pages.items()} == {"man1/dr.1": [], "man5/dr-plan.5": []}


@pytest.mark.parametrize(
    "line", [".5 of them", ".XY mark", "'quoted", r"\fBbold", r"C:\new", ".TP\n.TP\nx", ".SH\nx", ""]
)
def test_a_page_that_is_not_sound_is_found(pages: dict[str, str], line: str) -> None:
    text = pages["man1/dr.1"].replace(".SH EXIT STATUS", f"{line}\n.SH EXIT STATUS")
    assert faults(text) != []

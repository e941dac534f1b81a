"""What every command is given: where things are, how to speak, and the session."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.errors import DEGRADED, INTERRUPTED, DrError, Fault, PlanError, Problem, with_hint, worst
from dr.late_dataclass import dataclass
from dr.report.envelope import said, whole

if TYPE_CHECKING:
    from rich.console import Console

    from dr.cli.events import Events
    from dr.cli.log_format import Format, Level
    from dr.plan.window import HeldBack
    from dr.session import Session
    from dr.tools.state_dir import StateDir

#: So many rows are printed at once.
_BATCH = 1_000


@dataclass
class Context:
    """One invocation. Commands say things through it and set `exit_code`; `close` prints the document."""

    command: str = ""
    config: Path | None = None
    state: Path | None = None
    as_json: bool = False
    verbose: int = 0
    quiet: bool = False
    log_format: Format = "text"
    #: The file that events are written to, and what writes them while the command works.
    events: Path | None = None
    told: Events | None = field(default=None, repr=False)
    #: What each option took for its value, as typed.
    taken: Mapping[str, str] = field(default_factory=dict)
    document: dict[str, object] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    #: Why stdout takes no more of the result; "" while it does.
    unwritten: str = ""
    #: Where the last error lay, and the hint that was said with it: for more of the same it is not said again.
    _hinted: tuple[str, str] = field(default=("", ""), repr=False)

    @functools.cached_property
    def session(self) -> Session:
        """The session; made, with all it loads, only for the commands that need it."""
        from dr.session import Session

        return Session(self.config_dir, self.state_dir)

    @functools.cached_property
    def config_dir(self) -> Path:
        """The directory with plans/ and targets/."""
        from dr.plan.declarations import find_config

        return find_config(str(self.config) if self.config else None, os.environ)

    @functools.cached_property
    def state_dir(self) -> StateDir:
        """Where the catalog, locks, caches and generated secrets are."""
        from dr.tools.state_dir import StateDir

        named = self.state or os.environ.get("DR_STATE")
        if named:
            path = Path(named).expanduser().absolute()
        elif os.geteuid() == 0:
            path = Path("/var/lib/dr")
        else:
            path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "dr"
        return StateDir(path)

    def say(self, text: str = "") -> None:
        """Print a line of result, unless a document is asked for."""
        if not self.as_json and not self.quiet:
            with self.going_on(1):
                click.echo(text)

    @contextlib.contextmanager
    def going_on(self, stream: int) -> Iterator[None]:
        """Let no work, and no exit code, end with a stream that takes no more: then it is said nowhere.

        A reader may have left, which is no fault; a full disk keeps the result from whoever wants it (`unwritten`).
        """
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            if stream == 1 and not isinstance(error, BrokenPipeError):
                self.unwritten = error.strerror or str(error)

    def put(self, **keys: object) -> None:
        """Add keys to the document."""
        self.document |= keys

    def ended(self, *codes: int) -> None:
        """Note exit codes; the worst is the command's."""
        self.codes += codes

    def complain(self, what: str, where: str = "", hint: str = "") -> None:
        """Say an error: on stderr, and in the document."""
        self.errors.append(said(what, where, hint))
        self._log("error", what, where, hint)

    def warn(self, what: str, where: str = "", hint: str = "") -> None:
        """Say a warning, on stderr and in the document; it is not an error and fails nothing."""
        warning = said(what, where, hint)
        if warning in self.warnings:
            return
        self.warnings.append(warning)
        if not self.quiet:
            self._log("warning", what, where, hint)

    def _log(self, level: Level, what: str, where: str, hint: str) -> None:
        if self.log_format == "text":
            again, self._hinted = (where, hint) == self._hinted, (where, hint)
            hint = "" if again and where else hint
            told = f"dr: {'warning: ' if level == 'warning' else ''}{_line(what, where, hint)}"
        else:
            from dr.cli.log_format import line

            more = said(what, where, hint)
            told = line(self.log_format, level, _line(what, where, hint), command=self.command, **more)
        with self.going_on(2):
            click.echo(told, err=True)

    def fault(self, fault: Fault) -> None:
        """Say a fault of a declaration."""
        (self.complain if fault.fails else self.warn)(fault.told, fault.where, fault.hint)

    def left_out(self, faults: Sequence[Fault]) -> None:
        """Say the faults of the plans that could not be used while the others were: done in part."""
        for fault in faults:
            self.complain(fault.told, fault.where, fault.hint)
        self.ended(*(DEGRADED for _ in faults[:1]))

    def failed(self, error: DrError) -> None:
        """Say an error that ended the command, and note its exit code."""
        if isinstance(error, PlanError) and error.faults:
            for fault in error.faults:
                self.fault(fault)
        else:
            what = error.sentence
            self.complain(what, error.where, error.hint)
        self.ended(error.exit_code)

    def tell_problems(self, problems: Iterable[Problem] | None = None) -> None:
        """Say what went wrong beside the work, or in one system while others were done; all of the session's."""
        session = self.__dict__.get("session")
        for problem in problems if problems is not None else session.problems if session is not None else ():
            self.complain(problem.what, problem.where, problem.hint)
            self.ended(problem.exit_code)

    def tell_held_back(self, held: Iterable[HeldBack] | None = None) -> None:
        """Say what is due and waits until its window opens."""
        from dr.report.documents import held_back_document

        waiting = list(self.session.held_back if held is None else held)
        self.put(held_back=[held_back_document(each.system, each.verb, each.opens) for each in waiting])
        for each in waiting:
            self.say(each.in_words)

    def tell_unread(self) -> None:
        """Warn of what lies beside the plans and is not read, where the command read plans; and of a fixed state."""
        session = self.__dict__.get("session")
        if session is not None and (why := session.unwritable):
            self.warn(f"{why.what} ({why.cause}): what is told is as it was when it last was", why.where, why.hint)
        if session is not None and "declarations" in session.__dict__:
            for fault in session.declarations.unread:
                self.fault(fault)

    def stopped(self) -> None:
        """Say that a person stopped it, and put it on record where a run was begun."""
        self.complain("stopped on request", hint="start the command again to finish the work")
        self.ended(INTERRUPTED)
        if "session" in self.__dict__ and "catalog" in self.session.__dict__:
            with contextlib.suppress(DrError):  # the next run puts on record what is open then
                self.session.catalog.close_own(now=self.session.clock())

    def protect(self) -> None:
        """Save a self-copy on the targets that the command reached and has not saved one on itself."""
        if "session" in self.__dict__ and self.session.reached:
            from dr.operations.self_backup import save_self

            save_self(self.session)

    def close(self) -> int:
        """Print the document when one is asked for; return the exit code."""
        if self.as_json:
            told = whole(self.command, self.document, warnings=self.warnings, errors=self.errors)
            sys.stdout.write(json.dumps(told, ensure_ascii=True) + "\n")
            sys.stdout.flush()
        return worst(self.codes)

    def plain_rows(self, rows: Sequence[Mapping[str, str]], *, title: str = "") -> None:
        """Print rows: a table on a terminal, plain aligned lines elsewhere."""
        if self.as_json or self.quiet or not rows:
            return
        if sys.stdout.isatty():
            _rich_table(rows, title)
            return
        with self.going_on(1):
            _aligned(rows, _widths(rows))

    def stream_rows(self, rows: Iterator[Mapping[str, str]]) -> None:
        """Print rows of which there may be a million: few as ever, more in batches as they come, aligned as they go.

        Who reads no more than the first of them ends the command: `BrokenPipeError`.
        """
        first = list(islice(rows, _BATCH))
        if len(first) < _BATCH or self.as_json or self.quiet:
            self.plain_rows(first)
            return
        widths = _aligned(first, _widths(first))
        while batch := list(islice(rows, _BATCH)):
            widths = [max(pair) for pair in zip(widths, _widths(batch), strict=True)]
            _aligned(batch, widths, head=False)


def _widths(rows: Sequence[Mapping[str, str]]) -> list[int]:
    return [max(len(head), *(len(row[head]) for row in rows)) for head in rows[0]]


def _aligned(rows: Sequence[Mapping[str, str]], widths: list[int], *, head: bool = True) -> list[int]:
    """Print rows in columns of these widths, which are returned."""
    lines = [[name.upper() for name in rows[0]]] if head else []
    lines += [list(row.values()) for row in rows]
    told = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    click.echo("\n".join(line.rstrip() for line in told))
    return widths


def way_on(outcome: str) -> str:
    """Return what to do about work of this outcome when nothing more is known."""
    return "start the command again" if outcome == "aborted" else "fix it, then run it again"


def without_place(error: str, where: str) -> str:
    """Leave out the place that an error begins with, where it is said before it."""
    return error.removeprefix(f"{where}: ")


def _line(what: str, where: str, hint: str) -> str:
    """Return what is said, `WHERE: WHAT. HINT`; no name in it ends the line or moves the cursor."""
    head = "".join(each if each.isprintable() else _escaped(each) for each in where)
    rest = with_hint(what, hint)
    rest = "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in rest)
    return f"{head}: {rest}" if head else rest


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _rich_table(rows: Sequence[Mapping[str, str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if _narrowest(rows) > console.width:  # side by side, words and ids would be broken amid
        _print_blocks(console, rows, title)
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for head in rows[0]:
        table.add_column(head.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row.values()))
    console.print(table)


def _narrowest(rows: Sequence[Mapping[str, str]]) -> int:
    """Return in how few columns rows stand side by side with every word whole."""
    words = [max(len(word) for cell in (head, *(row[head] for row in rows)) for word in cell.split() or [""])
             for head in rows[0]]  # fmt: skip
    return sum(words) + 2 * (len(words) - 1)


def _print_blocks(console: Console, rows: Sequence[Mapping[str, str]], title: str) -> None:
    """Print each row as lines of its own, a name and a value each."""
    from rich.text import Text

    width = max(len(head) for head in rows[0]) + 2
    console.print(*([Text(title)] if title else []), end="\n" if title else "")
    for number, row in enumerate(rows):
        if number:
            console.print()
        for head, cell in row.items():
            line = Text(head.upper().ljust(width), style="bold").append(Text(cell, style=_style(cell)))
            console.print(line, soft_wrap=True)


def _style(cell: str) -> str:
    word = cell.split(" ")[0].rstrip(",:")
    good, bad, odd = ("ok", "met", "passed"), ("failed", "missed", "aborted"), ("degraded", "unknown", "never")
    return "green" if word in good else "red" if word in bad else "yellow" if word in odd else ""


pass_context = click.make_pass_decorator(Context)

"""The live view: a row for each thing that is being done, with how far it is, how fast, and how long it may take.

It is on stderr, only while something runs, and leaves nothing behind but a line as each run ends.
"""

from __future__ import annotations

import threading
import time
from dataclasses import field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from dr.cli.events import in_words
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes, format_duration
from dr.tools.activity import Activity

#: Seconds between two looks at how far a step is: objects are hashed by the thousand.
_EVERY = 0.1
_Key = tuple[str, str, str]


@dataclass
class _Row:
    """One row: what a run does with one source and one target. `steps` are the steps it is in, the innermost last."""

    task: TaskID
    steps: list[str] = field(default_factory=list)
    drawn: float = 0.0


class _Amounts(ProgressColumn):
    """How much is done, how fast, and what is left by that speed; nothing where no size is known."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the cell."""
        if not task.fields.get("sized"):
            return Text(_seconds(task.elapsed or 0))
        of = f" of {format_bytes(int(task.total))}" if task.total else ""
        parts = [f"{format_bytes(int(task.completed))}{of}", task.fields.get("files", "")]
        if task.speed:
            parts.append(f"{format_bytes(int(task.speed))}/s")
        if task.time_remaining:
            parts.append(f"{_seconds(task.time_remaining)} left")
        return Text(", ".join(part for part in parts if part))


def _seconds(seconds: float) -> str:
    """Return a length of time as it changes before one's eyes: in whole seconds."""
    return format_duration(seconds) if seconds >= 10 else f"{seconds:.0f} s"


class LiveView:
    """A watcher that shows what runs. A context; it is on the screen only while a run is open."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        what = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2))
        self._progress = Progress(
            what,
            BarColumn(bar_width=16),
            _Amounts(Column(ratio=3, no_wrap=True, overflow="ellipsis")),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._rows: dict[_Key, _Row] = {}
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        """Begin to watch."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take it off the screen, whatever is still open."""
        self._progress.stop()

    def __call__(self, told: Activity) -> None:
        """Show one thing."""
        with self._guard:
            if told.event == "progress":
                self._advance(told)
            elif told.event == "ended":
                self._end(told)
            elif told.event == "step_ended":
                self._leave(told)
            else:
                self._enter(told)

    def _enter(self, told: Activity) -> None:
        key = _key(told)
        if not self._rows:
            self._progress.start()
        if key not in self._rows:
            self._rows[key] = _Row(self._progress.add_task(_described(told), total=None))
        self._rows[key].steps.append(told.step)
        self._describe(told)

    def _leave(self, told: Activity) -> None:
        row = self._rows.get(_key(told))
        if row is None:
            return
        row.steps.pop()
        if row.steps:
            self._describe(told)
        else:
            self._progress.remove_task(self._rows.pop(_key(told)).task)
            self._hide_outer()

    def _end(self, told: Activity) -> None:
        for key in [key for key in self._rows if key[0] == told.run_id]:
            self._progress.remove_task(self._rows.pop(key).task)
        self._console.print(Text(in_words(told)))
        if not self._rows:
            self._progress.stop()

    def _describe(self, told: Activity) -> None:
        row = self._rows[_key(told)]
        words = " ".join(word for word in (row.steps[-1], _about(told)) if word)
        described = f"{_described(told)}  {words}"
        self._progress.reset(row.task, description=described, total=None, sized=False, files="")
        self._hide_outer()

    def _advance(self, told: Activity) -> None:
        row, now, amount = self._rows.get(_key(told)), time.monotonic(), told.amount
        if row is None or (now - row.drawn < _EVERY and not amount.is_whole):
            return
        row.drawn = now
        files = "" if amount.files is None else f"{amount.files:,}"
        files += f" of {amount.total_files:,}" if files and amount.total_files else ""
        self._progress.update(
            row.task,
            completed=amount.bytes or 0,
            total=amount.total_bytes or None,
            sized=amount.bytes is not None,
            files=f"{files} files" if files else "",
        )

    def _hide_outer(self) -> None:
        """Show the innermost rows only: what a run does with a source, not that it does something."""
        for key, row in self._rows.items():
            inner = any(_within(other, key) for other in self._rows)
            self._progress.update(row.task, visible=not inner)


def _key(told: Activity) -> _Key:
    return told.run_id, told.source, told.target


def _within(inner: _Key, outer: _Key) -> bool:
    return inner != outer and all(wide in ("", narrow) for narrow, wide in zip(inner, outer, strict=True))


def _about(told: Activity) -> str:
    return f"{told.source} → {told.target}" if told.source and told.target else told.source or told.target


def _described(told: Activity) -> str:
    return f"{told.system}  {told.verb}"

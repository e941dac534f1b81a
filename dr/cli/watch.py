"""Who watches while a command works: a live view on a terminal, elsewhere a line as each run starts and ends.

Beside them a file of events, where `--events` names one.

Nothing of it changes what is done or put on record, or the document that `--json` prints.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from dr.cli.context import Context
from dr.cli.events import Events, in_words
from dr.errors import UsageError
from dr.tools import activity
from dr.tools.activity import Activity


@contextlib.contextmanager
def watched(context: Context) -> Iterator[None]:
    """Let those watch whom options and terminal call for. Raises `UsageError` where `--events` cannot be written."""
    with contextlib.ExitStack() as stack:
        if context.events is not None:
            context.told = open_events(context.events, context)
            context.told.write("command_started", command=context.command, pid=os.getpid())
            stack.enter_context(activity.watching(context.told))
        if not (context.as_json or context.quiet):
            stack.enter_context(activity.watching(_shown(stack, context)))
        yield


def _shown(stack: contextlib.ExitStack, context: Context) -> activity.Watcher:
    """Return what shows a person the work: live on stderr where that is a terminal, else a line as runs start and end.

    Those lines are results, on stdout: stderr has what is wrong, and nothing else.
    """
    if sys.stderr.isatty():
        from dr.cli.live import LiveView

        return stack.enter_context(LiveView())

    def say(told: Activity) -> None:
        if line := in_words(told):
            context.say(line)

    return say


def open_events(path: Path, context: Context) -> Events:
    """Open a file of events to add to, for its owner alone where it is new. Raises `UsageError` where it cannot be."""
    try:
        file = open(path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115 - open until the command ends
    except OSError as error:
        hint = "name a file in a directory that you may write to"
        raise UsageError("the events cannot be written there", str(path), error.strerror or "", hint=hint) from error
    return Events(file, lambda why: context.warn(why, str(path)))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

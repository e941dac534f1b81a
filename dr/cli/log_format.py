"""How a line on stderr is written: for people, for the journal of systemd, or as JSON for a collector of logs.

Under systemd each line begins with its priority, `<3>` for an error, `<4>` for a warning, `<6>` for all else
(sd-daemon(3)): so `journalctl -p err` finds what failed. That is noticed by JOURNAL_STREAM, which names where stderr
of a unit leads.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "journal", "json"]
Level = Literal["error", "warning", "info"]
_PRIORITY: Mapping[str, int] = {"error": 3, "warning": 4, "info": 6}


def format_of(arguments: Sequence[str], env: Mapping[str, str]) -> Format:
    """Return what `--log-format` asks for, else what stderr leads to."""
    for number, word in enumerate(arguments):
        name, mark, value = word.partition("=")
        if name == "--log-format" and (value if mark else arguments[number + 1 : number + 2] == ["json"]):
            return "json" if not mark or value == "json" else "text"
        if word == "--":
            break
    return "journal" if _is_journal(env.get("JOURNAL_STREAM", "")) else "text"


def _is_journal(named: str) -> bool:
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def line(form: Format, level: Level, text: str, **more: str) -> str:
    """Return one message as it is written: `more` are its parts, for JSON alone."""
    if form == "json":
        told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "level": level}
        return json.dumps({**told, "message": text, **{key: value for key, value in more.items() if value}})
    plain = f"dr: {'warning: ' if level == 'warning' and 'logger' not in more else ''}{text}"
    if form == "text":
        return plain
    return "\n".join(f"<{_PRIORITY[level]}>{each}" for each in plain.splitlines() or [""])


class LogFormatter(logging.Formatter):
    """What is logged, in the same form."""

    def __init__(self, form: Format) -> None:
        super().__init__("%(message)s")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        level: Level = "error" if record.levelno >= logging.ERROR else "info"
        level = "warning" if record.levelno == logging.WARNING else level
        return line(self._form, level, super().format(record), logger=record.name)

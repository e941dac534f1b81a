"""A program of the organisation's own: it reads the message as JSON, and takes it by ending with 0."""

from __future__ import annotations

import json

from dr.errors import DrError
from dr.notify.message import Message
from dr.plan.site import Command
from dr.tools import command


def send(to: Command, message: Message, *, where: str) -> None:
    """Start it. Raises `DrError` when it cannot be started, takes too long, or ends otherwise than with 0."""
    given = json.dumps(message.document, ensure_ascii=True).encode() + b"\n"
    done = command.run(to.run, stdin=given, timeout=to.timeout)
    if done.code != 0:
        reason = done.last_words or f"exit code {done.code}"
        raise DrError(f"the program {to.run[0]} did not take the notice", where, reason, hint="run it by hand")

"""A stored file as a stream: where the line to the target breaks amid it, another restic reads it again from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from dr.errors import DrError
from dr.tools import command, retry
from dr.tools.restic_events import Events, failure
from dr.tools.restic_tries import Tries


@contextmanager
def stream_of(
    argv: Sequence[str], *, env: Mapping[str, str], where: str, doing: str = "reading a stored stream"
) -> Iterator[Iterator[bytes]]:
    """Give what a restic process of these arguments writes, each byte once; what ails it is raised at the end.

    What is stored never changes: another process writes the same.
    """
    with ExitStack() as stack:

        def started(heed: Tries) -> command.Running:
            return stack.enter_context(command.Running(argv, env=env, death="INT", heed=heed))

        def chunks(running: command.Running, heed: Tries) -> Iterator[bytes]:
            given, tries = 0, retry.Again(where)
            while True:
                passed = 0
                while block := running.read():
                    passed += len(block)
                    if fresh := block[max(0, len(block) - max(0, passed - given)) :]:
                        given += len(fresh)
                        tries.worked()
                        yield fresh
                try:
                    return _require_end(running, heed, where, doing)
                except DrError as error:
                    tries.wait_after(error)
                heed = Tries(where)
                running = started(heed)

        heed = Tries(where)
        yield chunks(started(heed), heed)


def _require_end(running: command.Running, heed: Tries, where: str, doing: str) -> None:
    done = running.finish()
    events = Events(given_up=heed.gave_up)
    events.feed_all(done.stderr)
    if done.code != 0:
        raise failure(done.code, events, where=where, doing=doing)


def nodes_of(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a snapshot out of what `restic ls --json` writes."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"{") and (node := json.loads(line)).get("struct_type") == "node":
                yield node

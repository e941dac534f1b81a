"""Programs of the organisation's own, run on what was restored: the environment they get, and the check `http`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dr.errors import DrError
from dr.evidence.record import Outcome
from dr.plan.check import HttpCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome
from dr.run.recovery.checks.databases import connections, not_run
from dr.run.recovery.place.programs import ProgramRunner
from dr.tools import command
from dr.tools import http as web
from dr.tools.host import Process

_ASK_SECONDS = 0.2
_ANSWER_SECONDS = 30.0


def argv(ground: CheckContext, run: Sequence[str]) -> list[str]:
    """Return a plan's command; `./smoke-test` lies beside the plan, not in the sandbox."""
    name = run[0]
    if "/" in name and not name.startswith("/"):
        name = ground.works.program((ground.plan_dir / name).resolve())
    return [name, *run[1:]]


def environment(ground: CheckContext, **more: str) -> dict[str, str]:
    """What a command may know: where the restored data is, how its services are reached, and no secret of ours."""
    kept = ground.works.environment()
    places = {_variable(name): str(restored.root) for name, restored in ground.sources.items()}
    return {**kept, **connections(ground.sources), "DR_SANDBOX": str(ground.root), **places, **more}


def _variable(source: str) -> str:
    return "DR_SOURCE_" + source.upper().replace("-", "_")


def wanted(body: HttpCheck) -> str:
    """What an http check expects, in words."""
    text = f"status {body.expect.status}"
    text += "" if body.expect.body is None else f", body {describe(body.expect.body)}"
    return f"{text} within {body.within} s"


def http(ground: CheckContext, body: HttpCheck) -> CheckOutcome:
    """Start what serves, if the plan says so, and ask until it answers as expected, or its time is over."""
    if why := not_run(ground):
        return CheckOutcome(wanted(body), why, "skipped")
    works = ground.works
    port = str(works.free_port())
    url = body.url.replace("{port}", port)
    if body.serve is None:
        return _ask(works, url, body, None)
    serve = [part.replace("{port}", port) for part in argv(ground, body.serve)]
    with _served(ground, serve, port) as running:
        return _ask(works, url, body, running)


@contextmanager
def _served(ground: CheckContext, serve: list[str], port: str) -> Iterator[Process]:
    with ground.works.start(serve, env=environment(ground, PORT=port), cwd=ground.root) as running:
        threading.Thread(target=_drain, args=(running,), daemon=True).start()
        try:
            yield running
        finally:
            running.kill()


def _drain(running: Process) -> None:
    """Read what a server prints, so that it never waits for us."""
    try:
        while running.read():
            pass
    except (OSError, ValueError, DrError):  # closed: it has been ended
        return


def _ask(works: ProgramRunner, url: str, body: HttpCheck, running: Process | None) -> CheckOutcome:
    """Ask again and again: a service that starts may first refuse, then answer with an error."""
    deadline, began = time.monotonic() + body.within, time.monotonic()
    while True:
        command.raise_if_stopping()
        left = deadline - time.monotonic()
        answer = works.fetch(url, seconds=max(0.1, min(left, _ANSWER_SECONDS)))
        passed = answer.status == body.expect.status and (
            body.expect.body is None or holds(body.expect.body, answer.text)
        )
        ended = running is not None and running.ended()
        if passed or ended or time.monotonic() >= deadline:
            words = running.finish().last_words if running and ended else ""
            observed = _told(answer, time.monotonic() - began) if not ended else _ended(words)
            return CheckOutcome(wanted(body), observed, _outcome(passed and not ended))
        command.wait_for_stop(_ASK_SECONDS)


def _outcome(passed: bool) -> Outcome:
    return "ok" if passed else "failed"


def _ended(words: str) -> str:
    return f"the program that serves has ended{f': {words}' if words else ''}"


def _told(answer: web.Answer, seconds: float) -> str:
    """What came back; a body is told by its beginning only."""
    if answer.status is None:
        return f"no answer ({answer.problem})"
    text = " ".join(answer.text.split())[:80]
    return f"status {answer.status} after {seconds:.1f} s{f', body {text!r}' if text else ''}"

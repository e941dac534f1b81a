"""The check `http`: a service on the restored data is started, where the plan says how, and asked until it answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dr.errors import DrError
from dr.plan.check_kinds import HttpCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, verdict
from dr.run.recovery.checks.driver import CheckDriver
from dr.run.recovery.checks.programs import argv, environment, not_run
from dr.run.recovery.place.programs import ProgramRunner
from dr.tools import command
from dr.tools import http as web
from dr.tools.host import Process

log = logging.getLogger("dr.drill")

_ASK_SECONDS = 0.2
_PORTS_TRIED = 3
_ANSWER_SECONDS = 30.0


class HttpDriver(CheckDriver[HttpCheck]):
    """Asks a service over HTTP."""

    declares = HttpCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        wanted = self.body.expect
        text = f"status {wanted.status}"
        text += "" if wanted.body is None else f", body {describe(wanted.body)}"
        return f"{text} within {self.body.within} s"

    def run(self, context: CheckContext) -> CheckOutcome:
        """Start what serves, if the plan says so, and ask until it answers as expected, or its time is over."""
        if why := not_run(context):
            return CheckOutcome(self.expected(), why, "skipped")
        if self.body.serve is None:
            return self._ask(context.works, self._url(context.works.free_port()), None)
        return self._serve_and_ask(context, argv(context, self.body.serve))

    def _url(self, port: int) -> str:
        return self.body.url.replace("{port}", str(port))

    def _serve_and_ask(self, context: CheckContext, run: list[str]) -> CheckOutcome:
        """Start what serves, and ask it. Where another program took its port before it could: again on another."""
        works = context.works
        for left in reversed(range(_PORTS_TRIED)):
            port = works.free_port()
            serve = [part.replace("{port}", str(port)) for part in run]
            with _served(context, serve, str(port)) as running:
                found = self._ask(works, self._url(port), running)
                lost = found.outcome != "ok" and running.ended() and works.is_taken(port)
            if not (lost and left):
                break
            log.info("port %d was taken by another program: the service is started again on another", port)
        return found

    def _ask(self, works: ProgramRunner, url: str, running: Process | None) -> CheckOutcome:
        """Ask again and again: a service that starts may first refuse, then answer with an error."""
        deadline, began = time.monotonic() + self.body.within, time.monotonic()
        last: tuple[web.Answer, float] | None = None  # what it answered last, and when
        while True:
            command.raise_if_stopping()
            left = deadline - time.monotonic()
            answer = works.fetch(url, seconds=max(0.1, min(left, _ANSWER_SECONDS)))
            passed = self._is_expected(answer)
            ended = running is not None and running.ended()
            if answer.status is not None:
                last = answer, time.monotonic() - began
            if passed or ended or time.monotonic() >= deadline:
                words = running.finish().last_words if running and ended else ""
                observed = _ended(words) if ended else _last_told(answer, last)
                return CheckOutcome(self.expected(), observed, verdict(passed and not ended))
            command.wait_for_stop(_ASK_SECONDS)

    def _is_expected(self, answer: web.Answer) -> bool:
        wanted = self.body.expect
        return answer.status == wanted.status and (wanted.body is None or holds(wanted.body, answer.text))


@contextmanager
def _served(context: CheckContext, serve: list[str], port: str) -> Iterator[Process]:
    with context.works.start(serve, env=environment(context, PORT=port), cwd=context.root) as running:
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


def _ended(words: str) -> str:
    return f"the program that serves has ended{f': {words}' if words else ''}"


def _last_told(answer: web.Answer, last: tuple[web.Answer, float] | None) -> str:
    """What it answered last. The request that runs out of time is no sign that it never answered."""
    if last is None:
        return f"no answer ({answer.problem})"
    late = f"; then no answer ({answer.problem})" if answer.status is None else ""
    return f"{_told(*last)}{late}"


def _told(answer: web.Answer, seconds: float) -> str:
    """What came back; a body is told by its beginning only."""
    text = " ".join(answer.text.split())[:80]
    return f"status {answer.status} after {seconds:.1f} s{f', body {text!r}' if text else ''}"

"""Hooks: a plan's own commands around a capture or a restore; what they said is part of the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dr.errors import DrError, InterruptedRunError
from dr.evidence.record import HookRun
from dr.tools.host import Host

if TYPE_CHECKING:
    from dr.plan.hook import Hook

_KEPT = 2_000  # characters of its output


def run_hook(
    host: Host,
    hook: Hook,
    moment: str,
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    regardless: bool = False,
) -> HookRun:
    """Run one hook and return how it went; a failure is a fact, not an error.

    `moment` says when, in words: "before capture". With `regardless` it runs also when we were asked to stop:
    an application that was put to sleep must be woken. Raises `InterruptedRunError` alone.
    """
    try:
        done = host.run(
            hook.run, env={**env, "DR_MOMENT": moment}, cwd=cwd, timeout=hook.timeout, regardless=regardless
        )
    except InterruptedRunError:
        raise
    except DrError as error:
        return HookRun(moment=moment, outcome="failed", output=str(error))
    return HookRun(
        moment=moment,
        outcome="ok" if done.code == 0 else "failed",
        code=done.code,
        seconds=round(done.seconds, 3),
        output=_told(done.stdout, done.stderr),
    )


def problem(run: HookRun) -> str:
    """Return what is wrong with a hook that failed, in words."""
    how = f"with exit code {run.code}" if run.code is not None else run.output
    return f"the hook {run.moment} failed {how}" if run.code is not None else f"the hook {run.moment}: {how}"


def _told(out: bytes, errors: bytes) -> str:
    text = "\n".join(part for part in (x.decode("utf-8", "replace").strip() for x in (out, errors)) if part)
    clean = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return clean if len(clean) <= _KEPT else f"…{clean[1 - _KEPT :]}"

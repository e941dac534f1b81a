"""What a restored service lacks: objects that a server refused, or that were broken at the source already.

Each is named. A drill goes on without them, degraded, and its checks judge what that means; a real recovery puts
nothing into its place that lacks something which nobody said may be missing.
"""

from __future__ import annotations

import shlex

from dr.plan.units import counted
from dr.run.recovery.state import Recovery
from dr.sources.driver import Refused


def tell(recovery: Recovery) -> None:
    """Note what lacks, and other remarks, each once; a real recovery fails by what was not accepted."""
    for name, instance in recovery.instances.items():
        lacks = [*map(str, instance.refusals), *instance.remarks]
        for line in (*instance.notes, *lacks):
            if (what := f"{name}: {line}") not in (event.what for event in recovery.journal.events):
                recovery.journal.note(what, outcome="degraded" if line in lacks else "ok")
    refused = [each for instance in recovery.instances.values() for each in instance.unaccepted]
    if recovery.request.real and refused and not recovery.error:
        names = ", ".join(each.name for each in refused)
        recovery.error = f"the server refused {counted(len(refused), 'object')} of what is restored: {names}"
        recovery.error_hint = _ways_on(recovery.request.again, refused)


def _ways_on(typed: tuple[str, ...], refused: list[Refused]) -> str:
    """Return the commands that go on without these objects, or leave the dumps as files."""
    accepting = [word for each in refused for word in ("--accept-missing", each.name)]
    return (
        f"go on without: `{shlex.join([*typed, *accepting])}`; or bring the dumps back as files: "
        f"`{shlex.join([*typed, '--dumps'])}`"
    )

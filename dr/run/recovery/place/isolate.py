"""Isolation of a drill: what runs on restored data reaches nothing that is not restored.

A restored database holds all that the live one had: mappings with passwords of other servers, subscriptions, code
that calls out. So scratch servers, those who query them, and the programs of checks run in a sandbox without a
network (`dr.tools.isolation`). Where the host does not let that be, the drill goes on and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dr.late_dataclass import dataclass
from dr.run.recovery.place.programs import ProgramRunner, WorksHere, WorksThere
from dr.run.recovery.place.restore_host import RestoreHost
from dr.tools.host import Host
from dr.tools.isolation import Isolated, NotIsolatedError


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """Where servers run (`host`) and where the programs of checks do (`works`). `reason`: why not `isolated`."""

    host: Host
    works: ProgramRunner
    isolated: bool
    reason: str = ""

    @property
    def in_words(self) -> str:
        """What the timeline says of it."""
        if self.isolated:
            return "isolated: what runs in the sandbox reaches no network"
        return f"not isolated: {self.reason}"

    def close(self) -> None:
        """Let it go, once everything in it has ended. May be called twice."""
        if isinstance(self.host, Isolated):
            self.host.close()


def isolate(land: RestoreHost, root: Path, *, reach: Sequence[str]) -> Isolation:
    """Isolate what is to run in the sandbox `root` on a land, as far as that land lets us.

    Checks that must `reach` addresses run outside; the servers stay inside. Raises `DrError` when the host is lost.
    """
    try:
        inside = Isolated(land.host, root)
    except NotIsolatedError as error:
        return Isolation(host=land.host, works=land.works, isolated=False, reason=_refused(land.host, error.what))
    if reach:
        reason = f"the plan lets the programs of its checks reach {', '.join(reach)}; the servers reach nothing"
        return Isolation(host=inside, works=land.works, isolated=False, reason=reason)
    works = WorksHere(inside) if land.host.here else WorksThere(inside, root / ".dr")
    return Isolation(host=inside, works=works, isolated=True)


def _refused(host: Host, why: str) -> str:
    return f"{host.name} does not let programs be kept from its network ({why})"

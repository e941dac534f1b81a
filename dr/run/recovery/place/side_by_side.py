"""Which restores of one program go on side by side: those that disk and memory have room for together.

Each says before it begins what it will take. One that does not fit beside those at work waits until enough of them
have ended, in the order in which they came; its clock does not run yet. One alone always goes on: whether it fits is
for itself to find out, and to refuse with the numbers.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import Self

from dr.evidence.record import BackupRun
from dr.evidence.seal import Stored
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.plan.site import Limits
from dr.plan.source_kinds import in_own_server
from dr.run.recovery.place.server_dirs import home_for
from dr.run.recovery.place.space import HEADROOM, Disk, disk_of
from dr.run.workspace.machine import memory_available
from dr.tools import command
from dr.tools.state_dir import StateDir

#: How often one that waits looks whether the program was asked to stop, in seconds.
_LOOK = 0.5


#: What restic takes for each system, and a scratch server for each source that needs one, in bytes.
_RESTIC, _SERVER = 512 << 20, 1 << 30
#: A dump takes so many times its bytes while it is loaded: see `dr.run.recovery.provision`.
_LOADED = 3


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a restore will take, in bytes: of each disk, and of memory. An ESTIMATE, by what is on record."""

    disks: Mapping[Disk, int] = field(default_factory=dict)
    memory: int = 0


def claim_of(loaded: Loaded, last: Iterable[Stored], state: StateDir) -> Claim:
    """Return what a drill will take on this host; nothing of what another host takes.

    `last` has the record of the last backup that worked, where there is one.
    """
    plan, restic_memory = loaded.plan, loaded.site.limits.memory
    facts = [each.sealed().fact for each in last]
    sources = [source for fact in facts if isinstance(fact, BackupRun) for source in fact.sources]
    dumps = sum(source.bytes for source in sources if in_own_server(source.kind))
    files = sum(source.bytes for source in sources) - dumps
    if plan.drill.sample is not None:
        files, dumps = min(files, plan.drill.sample), min(dumps, plan.drill.sample)
    memory = 2 * restic_memory if restic_memory else _RESTIC
    if plan.drill.host is not None:
        return Claim(memory=memory)
    disks = Counter[Disk]()
    with suppress(OSError):  # of a directory that is not there: the drill says so
        disks[disk_of(plan.drill.sandbox or state.sandboxes)] += files
        disks[disk_of(home_for(plan.drill.sandbox))] += _LOADED * dumps
    return Claim(disks=disks, memory=memory + _SERVER * sum(in_own_server(source.kind) for source in sources))


class SideBySide:
    """The restores at work in this program: `most` of them at most (None: no bound), and `memory` bytes for all.

    Of memory there is by default what is available now.
    """

    def __init__(self, most: int | None, memory: int | None = None) -> None:
        self._most, self._memory = most, memory_available() if memory is None else memory
        self._free: dict[str, int] = {}
        self._taken: Counter[str] = Counter()
        self._claims = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """Return what a site allows."""
        return cls(limits.restores, limits.restore_memory)

    @contextmanager
    def held(self, claim: Claim) -> Iterator[None]:
        """Wait until there is room for it beside the others, then hold that; may be stopped meanwhile."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not (self._waiting[0] is ticket and self._fits(claim)):
                    self._changed.wait(_LOOK)
                    command.raise_if_stopping()
                self._take(claim)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._claims -= 1
                self._taken.subtract(_by_key(claim))
                self._changed.notify_all()

    def _fits(self, claim: Claim) -> bool:
        if not self._claims:
            return True
        if self._most is not None and self._claims >= self._most:
            return False
        room = {"memory": self._memory, **{disk.key: self._free.get(disk.key, disk.free) for disk in claim.disks}}
        return all(self._taken[key] + size <= room[key] for key, size in _by_key(claim).items())

    def _take(self, claim: Claim) -> None:
        for disk in claim.disks:  # what was free before any of those at work wrote
            if not self._taken[disk.key]:
                self._free[disk.key] = disk.free
        self._claims += 1
        self._taken.update(_by_key(claim))


def _by_key(claim: Claim) -> dict[str, int]:
    found = Counter({"memory": claim.memory})
    for disk, size in claim.disks.items():
        found[disk.key] += int(size * HEADROOM)
    return dict(found)

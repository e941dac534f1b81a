"""The phase provision: the place is made, what stands beside the data is brought, and what takes the data is begun.

Each source has a room of its own, `ROOT/SOURCE`, and a directory apart from it for its manifest and recorded facts.
May be called again over what an interrupted call left, and again for another copy.

Before anything is brought, what it takes on which disk is held against the room there. Files take what was captured of
them. Databases take what their server wrote at the source, as it was recorded at capture, and their dump once more
while they are loaded, for the server's log and what it sorts: an ESTIMATE. What nobody recorded is twice its dump.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dr.errors import DamageError, DrError, InterruptedRunError
from dr.evidence import manifest
from dr.evidence.manifest_parts import assemble
from dr.run.recovery.place.isolate import isolate
from dr.run.recovery.place.space import LARGER, Disk, Need, disk_on, for_databases, require_all
from dr.run.recovery.state import Recovery
from dr.run.recovery.tables import choose
from dr.sources.driver import MANIFEST, RestoredSource, RestoreSlot
from dr.tools import activity

#: Two restic processes at once keep a network busy without tripling the memory they need.
_AT_ONCE = 2
#: A database of which only the dump is known takes so many times its bytes: rows have heads there, and indexes.
_OF_A_DUMP = 2
_OF_RECOVERY = "free some space there, or recover to a place on a larger disk"
T = TypeVar("T")


def provision(recovery: Recovery) -> None:
    """Make the place for the copy in hand, and make ready what will take the data."""
    request, site, step, journal = recovery.request, recovery.site, recovery.chosen, recovery.journal
    recovery.lost, recovery.sampled, recovery.trees_sampled = {}, None, {}
    recovery.root = site.prepare(step.point, known_size(recovery))
    if request.in_sandbox and recovery.isolation is None and _runs_programs(recovery):
        recovery.isolation = isolate(site.land, recovery.root, reach=recovery.toolbox.plan.drill.reach)
    recovery.step = step if request.selected else replace(step, place=recovery.cache.seen(step.place))
    recovery.wanted, recovery.alone = None, {}
    _make_rooms(recovery)
    if request.tables:
        choose(recovery)
        recovery.instances = {name: _instance(recovery, name) for name in recovery.sources}
    if request.sample:
        from dr.run.recovery.sampling import choose_sample

        choose_sample(recovery, stream_size=stream_size, loaded_size=loaded_size)
    if recovery.sampled is None:
        require_room(recovery)
    for name, instance in recovery.instances.items():
        if (captured := instance.captured()) and captured.server:
            journal.note(f"{name} was captured from {captured.server}")
    for instance in recovery.instances.values():  # here, not in a pool: a server ends with the thread that began it
        instance.provision()
    there = "" if site.land.host.here else f" on {site.land.host.name}"
    journal.note(f"sandbox made{there}" if request.in_sandbox else "the place of recovery is ready", timed=True)
    if recovery.isolation:
        journal.note(recovery.isolation.in_words)


def of_each(recovery: Recovery, names: Sequence[str], act: Callable[[str], T | None]) -> dict[str, T]:
    """Do something for several sources, two at a time; of which nothing comes, that is left out.

    A source that cannot be read stops a restore; where what is left is salvaged, it is noted as lost.
    """

    def one(name: str) -> T | None:
        return _or_lost(recovery, name, act)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(activity.carried(one), names))
    return {name: found for name, found in zip(names, done, strict=True) if found is not None}


def _or_lost(recovery: Recovery, name: str, act: Callable[[str], T | None]) -> T | None:
    try:
        with activity.step("", source=name):
            return act(name)
    except InterruptedRunError:
        raise
    except DrError as error:
        if not recovery.chosen.salvage:
            raise
        from dr.run.recovery.full_disk import named

        told = named(recovery, error)
        if "disk is full" in told.what:
            raise told from error
        recovery.lost[name] = told
        return None


def _runs_programs(recovery: Recovery) -> bool:
    """Whether something is to run on what is restored: a server of its own, or a check's program."""
    from dr.plan.check_kinds import Turn
    from dr.plan.source_kinds import in_own_server

    request, kinds = recovery.request, recovery.chosen.point.kinds
    served = not (request.partial or request.as_files) and any(map(in_own_server, kinds.values()))
    return served or any(check.body.turn is Turn.RUNS_PROGRAMS for check in recovery.toolbox.plan.drill.checks)


def _make_rooms(recovery: Recovery) -> None:
    """Make each source's room, and bring what was stored apart from its data: manifest, facts, accounts."""
    recovery.site.land.aside(recovery.root).mkdir(mode=0o700, exist_ok=True)
    of_each(recovery, recovery.sources, lambda name: _make_room(recovery, name))
    for name in recovery.sources:
        recovery.instances[name] = _instance(recovery, name)


def _make_room(recovery: Recovery, name: str) -> None:
    """Bring what was stored apart from the data: a stream's manifest and facts, or a manifest amended later."""
    recovery.site.land.make(recovery.root / name)
    apart, step = recovery.apart(name), recovery.chosen
    apart.mkdir(mode=0o700, exist_ok=True)
    snapshot = step.copy.manifests.get(name)
    if snapshot is None:
        return
    done = step.place.repository.restore(snapshot, apart, overwrite="always")
    assemble(apart / MANIFEST)
    if not (apart / MANIFEST).is_file():
        raise DamageError(
            "the manifest of the point could not be restored",
            step.place.repository.where,
            "; ".join(done.errors[:1]),
            hint="use another target or an older point",
        )


def _instance(recovery: Recovery, name: str) -> RestoredSource:
    """Return what a restore makes of a source; plain files when the plan no longer names it."""
    request, site = recovery.request, recovery.site
    room = RestoreSlot(
        root=recovery.root / name,
        apart=recovery.apart(name),
        annex=site.annex,
        token=request.token or request.drill_id,
        real=not request.in_sandbox,
        only=(recovery.wanted or {}).get(name, frozenset()),
        tables=recovery.alone.get(name, {}),
        replace=request.replaced,
        accepted=request.accepted,
        host=recovery.isolation.host if recovery.isolation else site.land.host,
    )
    if recovery.as_declared(name) and not request.paths:
        instance = recovery.toolbox.source(name).restored(room)
        if not (instance.takes_stream and (request.as_files or request.partial)):
            return instance
    return RestoredSource(name, recovery.chosen.point.kinds.get(name, "files"), room)


# -- room --------------------------------------------------------------------------------------------


def known_size(recovery: Recovery) -> int:
    """Return the bytes that the point takes at its place; 0 where that shows only once its manifests are there."""
    request, point = recovery.request, recovery.chosen.point
    if request.partial or request.sample or request.tables:
        return 0
    from dr.plan.source_kinds import in_own_server

    loaded = not request.as_files and any(map(in_own_server, point.kinds.values()))
    return 0 if loaded else point.bytes or 0


def require_room(recovery: Recovery) -> None:
    """Raise `DrError` unless what is to be restored fits, on each disk all of it together; nothing is brought yet."""
    if recovery.request.partial:
        return  # asked once it is known which files they are
    require_all(_needs(recovery), hint=LARGER if recovery.request.in_sandbox else _OF_RECOVERY)


def _needs(recovery: Recovery) -> Iterator[Need]:
    dumps = {name: size for name in recovery.instances if (size := stream_size(recovery, name)) is not None}
    poured = {name for name, instance in recovery.instances.items() if instance.takes_stream}
    if not recovery.request.tables:
        files = (recovery.chosen.point.bytes or 0) - sum(dumps.get(name, 0) for name in poured)
        files -= _written_before(recovery.root) if recovery.request.real else 0
        yield Need(disk=recovery.site.land.disk(recovery.root), what="of files", bytes=max(0, files))
    for name in sorted(poured):
        if disk := _disk_of(recovery, recovery.instances[name]):
            yield for_databases(name, disk, loaded_size(recovery, name, dumps.get(name, 0)))
        else:
            recovery.journal.note(f"how much room the server of {name} has cannot be seen from here")


def _written_before(root: Path) -> int:
    from dr.run.recovery.destination import written

    return written(root)


def stream_size(recovery: Recovery, name: str) -> int | None:
    """Return the bytes of a source that was captured as one stream; None for any other."""
    listed = recovery.apart(name) / MANIFEST
    if not (listed.is_file() and manifest.is_stream(listed)):
        return None
    entry = next(manifest.read(listed), None)
    return entry.size if entry else None


def loaded_size(recovery: Recovery, name: str, dump: int) -> int:
    """Return the bytes that a source's databases take in a server while they are loaded. An estimate."""
    instance = recovery.instances[name]
    captured, only = instance.captured(), instance.room.only
    sizes = captured.sizes if captured else {}
    own = instance.empty_bytes
    if only:
        whole = sum(sizes.get(database, 0) for database in only)  # of its dump only a part is loaded
        return own + int(whole * _share_of_rows(instance))
    return own + dump + (sum(sizes.values()) if sizes else _OF_A_DUMP * dump)


def _share_of_rows(instance: RestoredSource) -> float:
    """Return which part of their databases' rows is in the tables that are asked for; all where that is not known."""
    tables = instance.room.tables
    listed = [each for each in instance.foreseen_tables() or () if tables and each.names[0] in tables]
    rows = {each.names: each.at_capture for each in listed if each.kind == "table"}
    wanted = [rows.get((database, *names)) for database, many in tables.items() for names in many]
    known = [count for count in wanted if count is not None]
    total = sum(count or 0 for count in rows.values())
    return sum(known) / total if total and known and len(known) == len(wanted) else 1.0


def _disk_of(recovery: Recovery, instance: RestoredSource) -> Disk | None:
    """Return the disk that a source's server writes to; None where that cannot be seen."""
    if recovery.request.in_sandbox:
        return recovery.site.land.disk(recovery.site.servers)
    place = instance.data_place()
    return disk_on(place[0], Path(place[1])) if place else None

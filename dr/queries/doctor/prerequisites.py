"""What a plan's sources need: hosts that let us in, and programs there and here; for `dr doctor`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from dr.errors import DrError
from dr.plan.check_kinds import Turn
from dr.plan.plan import Plan
from dr.plan.source import Source
from dr.queries.doctor.finding import Finding
from dr.sources.hosts import open_host
from dr.sources.scratch import find_program
from dr.tools.host import Host, script
from dr.tools.isolation import Isolated, NotIsolatedError

#: What a drill needs on another host.
_LAND = ("tar", "find", "sha256sum", "xargs", "df")
_ASK = 'for name; do command -v "$name" >/dev/null && echo "$name"; done; true'
_SECONDS = 30.0


def of_plan(plan: Plan, folder: Path) -> Iterator[Finding]:
    """Yield what was found of each host and program that a plan needs. Other hosts are asked; nothing is changed there.

    `folder`: where the plan lies, and the programs of its checks that are named beside it.
    """
    drill, sources = open_host(plan.drill.host), {name: open_host(plan.host_of(name)) for name in plan.sources}
    hosts = {host.name: host for host in (*sources.values(), drill)}
    refused = {name: None if host.here else _refused(host) for name, host in hosts.items()}
    for name, host in hosts.items():
        if not host.here:
            yield _reached(f"{plan.system}: host {name}", refused[name])
    if not drill.here and not refused[drill.name]:
        yield from _land(f"{plan.system}: drills", drill)
    if not refused[drill.name] and _runs_programs(plan):
        yield _sandbox(f"{plan.system}: sandbox", drill)
        yield from _check_programs(plan, folder, drill)
    for name, source in plan.sources.items():
        what = f"{plan.system}: {name}"
        if not refused[sources[name].name]:
            yield from _programs(what, source, sources[name])
        if not refused[drill.name] and (problem := _no_server(source, drill)):
            yield Finding(f"{what}: drills", "degraded", problem, "a drill starts a scratch server of its own there")


def _land(what: str, host: Host) -> Iterator[Finding]:
    """What a drill needs on another host, whatever it restores there."""
    there = _there(host, _LAND)
    if lacking := [name for name in _LAND if name not in there]:
        yield Finding(what, "degraded", f"not found on {host.name}: {', '.join(lacking)}", "install it there")


def _there(host: Host, names: Collection[str]) -> set[str]:
    """Return which of some programs a host has."""
    if not names:
        return set()
    return set(host.run(["sh", "-c", _ASK, "ask", *names], timeout=_SECONDS).stdout.decode().split("\n"))


def _runs_programs(plan: Plan) -> bool:
    """Whether a drill starts something on what it has restored."""
    served = any(source.body.own_server for source in plan.sources.values())
    return served or any(check.body.turn is Turn.RUNS_PROGRAMS for check in plan.drill.checks)


def _check_programs(plan: Plan, folder: Path, host: Host) -> Iterator[Finding]:
    """What the plan's checks start: beside the plan, or on the host of its drills."""
    named = dict.fromkeys(check.body.starts[0] for check in plan.drill.checks if check.body.starts)
    beside = {name for name in named if "/" in name and not name.startswith("/")}
    there = _there(host, [name for name in named if name not in beside])
    there |= {name for name in beside if _executable(folder / name, host)}
    if lacking := [name for name in named if name not in there]:
        observed = f"not found, or not executable: {', '.join(lacking)}"
        hint = f"correct its name, run `chmod +x` on it, or install it on {host.name}; a drill's check fails without it"
        yield Finding(f"{plan.system}: checks", "degraded", observed, hint)


def _executable(path: Path, host: Host) -> bool:
    """Whether a program beside the plan can be started: to another host it is brought, and made so there."""
    return path.is_file() and (not host.here or os.access(path, os.X_OK))


def _sandbox(what: str, host: Host) -> Finding:
    """Whether what runs in a drill's sandbox can be kept from every network: tried, as a drill does."""
    try:
        Isolated(host, Path("/")).close()
    except NotIsolatedError as error:
        observed = f"what runs in a drill on {host.name} reaches its network: {error.what}"
        return Finding(what, "degraded", observed, error.hint)
    except DrError as error:
        return Finding(what, "degraded", str(error), error.hint)
    return Finding(what, "ok", f"on {host.name}: what runs in it reaches no network")


def _refused(host: Host) -> DrError | None:
    try:
        host.run(["true"], timeout=_SECONDS)
    except DrError as error:
        return error
    return None


def _reached(what: str, error: DrError | None) -> Finding:
    return Finding(what, "failed", str(error), error.hint) if error else Finding(what, "ok", "login works")


def _programs(what: str, source: Source, host: Host) -> Iterator[Finding]:
    """A lack on the source's host stops backups."""
    kind = source.body
    groups = kind.capture_programs if host.here or not kind.remote_programs else kind.remote_programs
    if groups:
        lacking = _lacking(groups, source, host)
        on = "" if host.here else f" on {host.name}"
        if lacking:
            yield Finding(what, "failed", f"not found{on}: {', '.join(lacking)}", "install it, or name it with `bin`")
        else:
            yield Finding(what, "ok", f"its programs are there{on}")


def _lacking(groups: tuple[tuple[str, ...], ...], source: Source, host: Host) -> list[str]:
    folder = source.database.bin if source.database else None
    names = {name: f"{folder}/{name}" if folder else name for group in groups for name in group}
    found = _there(host, names.values())
    return [" or ".join(group) for group in groups if not any(names[name] in found for name in group)]


def _no_server(source: Source, host: Host) -> str | None:
    """A lack on the drill's host stops drills; real recoveries do without."""
    kind = source.body
    if not kind.server_programs:
        return None
    try:
        names = " ".join(kind.server_places)
        found = host.run(script(f'for d in {names}; do echo "$d"; done;')).stdout.decode().split("\n")
        places = [Path(each) for each in sorted(filter(None, found), reverse=True)]
        for group in kind.server_programs:
            find_program(host, group, places, hint="")
    except DrError as error:
        packages = f"Debian: {' '.join(kind.packages)}; " if kind.packages else ""
        return f"{error.what}: install {kind.server}'s server ({packages}it need not run)"
    return None

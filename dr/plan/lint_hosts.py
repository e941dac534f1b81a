"""What is wrong with the hosts and servers that a plan names, as far as can be told from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dr.plan.host import SshHost
from dr.plan.on_disk import MAKE, Found, Key, kept_file, no_file, secret_faults
from dr.plan.plan import Plan
from dr.plan.source_kinds import DatabaseSource
from dr.plan.target import Target


def hosts(plan: Plan, targets: Mapping[str, Target], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield the faults of a plan's hosts, of how its sources are captured there, and of its servers' secrets."""
    if plan.host:
        yield from _files_of(("host",), plan.host)
    if plan.drill.host:
        yield from _drill_host(plan.drill.host)
    for name, source in plan.sources.items():
        at: Key = ("sources", name)
        if source.host:
            yield from _files_of((*at, "host"), source.host)
        if host := plan.host_of(name):
            yield from _mode(plan, name, host, targets)
        if source.database:
            yield from _server((*at, source.kind), source.database, env, here=host is None)


def _files_of(at: Key, host: SshHost) -> Iterator[Found]:
    known = host.known_hosts or Path.home() / ".ssh" / "known_hosts"
    make = "make it with ssh-keyscan, and compare the fingerprints with those the host itself shows"
    yield from no_file((*at, "known_hosts"), known, "the known_hosts file", make)
    if host.key:
        yield from kept_file((*at, "key"), host.key, "the private key", "make it with ssh-keygen")


def _drill_host(host: SshHost) -> Iterator[Found]:
    at: Key = ("drill", "host")
    yield from _files_of(at, host)
    if host.mode != "stream":
        what = f"a drill's host has no use for `mode: {host.mode}`: that says how sources are captured, not restored"
        yield (*at, "mode"), what, "remove `mode`", "refused"


def _mode(plan: Plan, name: str, host: SshHost, targets: Mapping[str, Target]) -> Iterator[Found]:
    source = plan.sources[name]
    at: Key = ("sources", name, "host", "mode") if source.host else ("host", "mode")
    if host.mode == "sftp" and not source.body.by_sftp:
        what = f"SFTP brings files only, and {name} is a {source.kind} source"
        yield at, what, f"write `mode: stream`, or give {name} a host of its own", "refused"
    if host.mode == "agent" and (why := source.body.why_no_agent):
        yield at, why.format(name), "declare a source for each database, or write `mode: stream`", "refused"
    first = targets.get(plan.targets[0])
    if host.mode == "agent" and first and not first.reached_from_elsewhere:
        what = f"restic there cannot reach a target on this machine: {first.target}"
        yield at, what, "put an s3 or rest target first, or write `mode: stream`", "refused"


def _server(at: Key, declared: DatabaseSource, env: Mapping[str, str], *, here: bool) -> Iterator[Found]:
    """The files and variables that hold a server's secrets; files on another host cannot be seen from here."""
    yield from secret_faults((*at, "password"), declared.password, env)
    for key in ("passfile", "defaults_file"):
        path: Path | None = getattr(declared, key, None)
        if path and here:
            yield from kept_file((*at, key), path, "the file", MAKE)

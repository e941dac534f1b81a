"""What is wrong between declarations, or between a declaration and this machine.

`refused` stops every command; `unsound` fails `dr validate`, since the plan promises what it cannot keep;
`advice` fails nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dr.errors import Fault, Severity
from dr.plan import cadence
from dr.plan.document import Document, read
from dr.plan.lint_hosts import Found, Key, hosts, secret_faults
from dr.plan.plan import Plan
from dr.plan.scratch import why_unsafe
from dr.plan.source import DATABASES
from dr.plan.target import Credentials, Target
from dr.plan.units import format_duration

#: Which kinds of source a kind of check needs.
_ANSWERED_BY = {"sql": DATABASES, "rows": DATABASES - {"sqlite"}, "schema": DATABASES - {"sqlite"}}


def lint_plans(
    plans: Mapping[str, tuple[Plan, Document | Path]],
    targets: Mapping[str, Target],
    declared: set[str],
    env: Mapping[str, str],
) -> list[Fault]:
    """Return the faults of plans that could be read. `declared` holds every declared name, the faulty too."""
    cycles = _cycles({name: plan for name, (plan, _) in plans.items()})
    faults = []
    for name, (plan, source) in plans.items():
        found = [*_within(plan), *_between(plan, targets, declared, cycles.get(name)), *_here(plan, env)]
        found += hosts(plan, targets, env)
        found += _scratch(plan, {other: each for other, (each, _) in plans.items()}, targets)
        if isinstance(source, Path):  # known from before: its advice was given then
            found = [item for item in found if item[3] != "advice"]
        if found:
            document = read(source) if isinstance(source, Path) else source
            faults += [_at(document, *item) for item in found if isinstance(document, Document)]
    return faults


def lint_targets(targets: Mapping[str, tuple[Target, Document | None]], env: Mapping[str, str]) -> list[Fault]:
    """Return the faults of targets that could be read."""
    faults = []
    for target, document in targets.values():
        if target.s3 and document:
            faults += [_at(document, *item) for item in _credentials(target.s3.credentials, env)]
    return faults


def _at(document: Document, key: Key, what: str, hint: str, severity: Severity) -> Fault:
    return document.fault(key, what, hint, severity=severity)


# -- within a plan -----------------------------------------------------------------------------------


def _within(plan: Plan) -> Iterator[Found]:
    wanted = plan.objectives
    if wanted.mtd is not None and wanted.rto >= wanted.mtd:
        yield (
            ("objectives", "rto"),
            f"the RTO ({format_duration(wanted.rto)}) is not shorter than the MTD ({format_duration(wanted.mtd)})",
            "make the RTO shorter, or the MTD longer",
            "refused",
        )
    yield from _checks(plan)
    gap = _gap(plan)
    if gap is None:
        yield ("cadence", "backup"), "backups never run by themselves", "write a cadence", "unsound"
    elif gap > wanted.rpo:
        promised = format_duration(wanted.rpo)
        yield (
            ("cadence", "backup"),
            f"this cadence leaves up to {format_duration(gap)} between backups, over the RPO of {promised}",
            "back up more often, or promise less",
            "unsound",
        )
    if plan.owner is None:
        yield ("system",), "the plan names no owner", "add `owner: {role: …, contact: …}`", "advice"
    for name, source in plan.sources.items():
        if source.kind in DATABASES and not source.newest:
            yield (
                ("sources", name),
                f"the source {name!r} has no `newest` query: lost data cannot be measured",
                "add one, such as `newest: select max(updated_at) from …`",
                "advice",
            )


def _gap(plan: Plan) -> float | None:
    text = plan.backup_cadence
    return None if text == "never" else cadence.parse(text, plan.cadence.timezone).interval_seconds()


def _checks(plan: Plan) -> Iterator[Found]:
    checks = plan.drill.checks
    if not any(check.mandatory for check in checks):
        yield (
            ("drill", "checks"),
            "the drill has no mandatory check, so it could not fail",
            "add one, such as `- manifest: {sample: 100%}`",
            "refused",
        )
    for number, check in enumerate(checks):
        at: Key = ("drill", "checks", number, check.kind, "source")
        if check.source is None:
            continue
        if check.source not in plan.sources:
            yield at, f"there is no source {check.source!r}", f"sources: {', '.join(plan.sources)}", "refused"
        elif check.kind in _ANSWERED_BY and plan.sources[check.source].kind not in _ANSWERED_BY[check.kind]:
            kind, able = plan.sources[check.source].kind, " or ".join(sorted(_ANSWERED_BY[check.kind]))
            hint = f"check a {able} source, or use `command`"
            yield at, f"a {kind} source answers no {check.kind} check", hint, "refused"


# -- between plans -----------------------------------------------------------------------------------


def _between(plan: Plan, targets: Mapping[str, Target], declared: set[str], cycle: str | None) -> Iterator[Found]:
    for number, name in enumerate(plan.depends_on):
        if name not in declared:
            yield ("depends_on", number), f"there is no system {name!r}", "add its plan, or correct the name", "refused"
    if cycle:
        yield ("depends_on",), f"the dependencies run in a circle: {cycle}", "take one of them away", "refused"
    for number, name in enumerate(plan.targets):
        if name in plan.targets[:number]:
            yield ("targets", number), f"the target {name!r} stands twice", "keep one", "refused"
        elif name not in targets:
            hint = f"targets: {', '.join(sorted(targets))}" if targets else "add its file in targets/"
            yield ("targets", number), f"there is no usable target {name!r}", hint, "refused"
    yield from _places(plan, targets)
    known = [targets[name] for name in plan.targets if name in targets]
    if known and not any(target.offsite for target in known):
        yield (
            ("targets",),
            "no target is offsite: what destroys this place destroys the copies too",
            "add an s3 target",
            "advice",
        )
    elif len(known) == 1:
        yield ("targets",), "there is one copy only", "add a second target", "advice"


def _scratch(plan: Plan, plans: Mapping[str, Plan], targets: Mapping[str, Target]) -> Iterator[Found]:
    """A scratch target belongs to the scenario ransomware, and nothing that is needed may lie there."""
    named, attacked = plan.drill.scratch, plan.drill.scenario == "ransomware"
    if attacked and named is None:
        hint = "add `scratch:` with the name of a target that no plan uses, in a bucket of its own"
        yield ("drill", "scenario"), "a ransomware drill needs a scratch target to attack", hint, "refused"
    elif named and not attacked:
        yield ("drill", "scratch"), "only the scenario ransomware has a scratch target", "take it away", "refused"
    elif named and (why := why_unsafe(named, plans, targets)):
        yield ("drill", "scratch"), why, "name a target that no plan uses, in a bucket of its own", "refused"


def _places(plan: Plan, targets: Mapping[str, Target]) -> Iterator[Found]:
    """Two targets in one place are one copy; a target inside a source makes each backup hold all before it."""
    seen: dict[tuple[str, ...], str] = {}
    for number, name in enumerate(plan.targets):
        if name not in targets or name in plan.targets[:number]:
            continue
        place = targets[name].place
        if place in seen:
            what = f"the targets {seen[place]!r} and {name!r} lie in the same place: that is one copy"
            yield ("targets", number), what, "give each a place of its own", "refused"
        seen.setdefault(place, name)
        for source, declared in plan.sources.items():
            for path in declared.files.paths if declared.files and place[0] == "local" else ():
                if Path(place[1]).is_relative_to(os.path.realpath(path)):
                    what = f"the target {name!r} lies inside the source {source!r}: each backup holds all before it"
                    yield ("targets", number), what, "move it, or leave it out with an exclude", "advice"


def _cycles(plans: Mapping[str, Plan]) -> dict[str, str]:
    """Return, for each system in a circle, the circle in words: a → b → a."""
    found: dict[str, str] = {}
    for start in plans:
        path = _way_back(plans, start)
        if path:
            found[start] = " → ".join(path)
    return found


def _way_back(plans: Mapping[str, Plan], start: str) -> list[str] | None:
    waiting, seen = [[start]], set()
    while waiting:
        path = waiting.pop(0)
        for name in plans[path[-1]].depends_on:
            if name == start:
                return [*path, start]
            if name in plans and name not in seen:
                seen.add(name)
                waiting.append([*path, name])
    return None


# -- here --------------------------------------------------------------------------------------------


def _here(plan: Plan, env: Mapping[str, str]) -> Iterator[Found]:
    yield from secret_faults(("secrets", "passphrase"), plan.secrets.passphrase, env)
    for name, source in plan.sources.items():
        if plan.host_of(name):
            continue  # another host is asked when it is needed, not here
        paths = source.files.paths if source.files else (source.sqlite.path,) if source.sqlite else ()
        for path in paths:
            if not Path(path).exists():
                yield ("sources", name), f"{path} is not there on this machine", "correct it, or mount it", "advice"


def _credentials(declared: Credentials | None, env: Mapping[str, str]) -> Iterator[Found]:
    at: Key = ("s3", "credentials")
    hint = "make it, or correct the name"
    if declared is None:
        if not env.get("AWS_ACCESS_KEY_ID"):
            yield ("s3",), "the target names no credentials, and AWS_ACCESS_KEY_ID is not set", hint, "unsound"
        return
    if declared.file and not declared.file.is_file():
        yield at, f"the credentials file {declared.file} is not there", hint, "unsound"
    if declared.env:
        for name in (declared.env.access_key_id, declared.env.secret_access_key):
            if not env.get(name):
                yield at, f"the environment variable {name} is not set", "set it where dr runs", "unsound"

"""What is wrong between declarations, or between a declaration and this machine.

`refused` stops every command; `unsound` fails `dr validate`, since the plan promises what it cannot keep;
`advice` fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dr.errors import Fault, Severity
from dr.late_dataclass import dataclass
from dr.plan import cadence
from dr.plan.document import Document, read
from dr.plan.lint_hosts import hosts
from dr.plan.lint_places import forgetting, offsite, places
from dr.plan.on_disk import Found, Key, secret_faults, unreadable, why_no_directory, why_not_found
from dr.plan.plan import Plan
from dr.plan.scenario import SCENARIOS
from dr.plan.source_kinds import able
from dr.plan.target import Target
from dr.plan.units import format_duration
from dr.plan.whereabouts import IsHere


@dataclass(frozen=True)
class Here:
    """This machine, as far as declarations speak of it: its environment, and which names and addresses are its own."""

    env: Mapping[str, str]
    is_here: IsHere


def lint_plans(
    plans: Mapping[str, tuple[Plan, Document | Path]],
    targets: Mapping[str, Target],
    declared: set[str],
    here: Here,
    read: Callable[[Path], Document | list[Fault]] = read,
) -> list[Fault]:
    """Return the faults of plans that could be read. `declared` holds every declared name, the faulty too.

    `read` reads a plan again, with the defaults of its site.
    """
    env = here.env
    known = {name: plan for name, (plan, _) in plans.items()}
    cycles = _cycles(known)
    faults = []
    for name, (plan, source) in plans.items():
        found = [
            *_within(plan),
            *_between(plan, targets, declared, cycles.get(name)),
            *_offsite(plan, targets, here),
            *_here(plan, env),
        ]
        found += hosts(plan, targets, env)
        found += _scratch(plan, known, targets)
        if isinstance(source, Path):  # known from before: its advice was given then
            found = [item for item in found if item[3] != "advice"]
        if found:
            document = read(source) if isinstance(source, Path) else source
            faults += [_at(document, *item) for item in found if isinstance(document, Document)]
    return faults


def lint_targets(targets: Mapping[str, tuple[Target, Document | None]], here: Here) -> list[Fault]:
    """Return the faults of targets that could be read."""
    faults, env = [], here.env
    for target, document in targets.values():
        if document:
            faults += [_at(document, *item) for item in offsite(target, here.is_here)]
            faults += [_at(document, *item) for item in forgetting(target)]
            faults += [_at(document, *item) for item in target.declared.faults(env)]
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
    yield from _scenarios(plan)
    if plan.owner is None:
        yield ("system",), "the plan names no owner", "add `owner: {role: …, contact: …}`", "advice"
    for name, source in plan.sources.items():
        for key, what, hint in source.body.advice(name):
            yield ("sources", name, *((source.kind, *key) if key else ())), what, hint, "advice"


def _scenarios(plan: Plan) -> Iterator[Found]:
    own = plan.drill.scenario
    if own in plan.cadence.scenarios:
        what = f"the drill's own scenario, {own}, is due by `drill`"
        yield ("cadence", "scenarios", own), what, "remove it here", "refused"
    losing = next((name for name in plan.scenarios if SCENARIOS[name].loses_primary), None)
    if losing and len(plan.places) < 2:
        yield (
            ("drill", "scenario") if own == losing else ("cadence", "scenarios", losing),
            "when the only target is lost, nothing is left to recover from",
            "add a target or a replica",
            "unsound",
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
        elif (needed := check.body.answered_by) and (kind := plan.sources[check.source].kind) not in able(needed):
            hint = f"check a {' or '.join(sorted(able(needed)))} source, or use `command`"
            yield at, f"a {kind} source answers no {check.kind} check", hint, "refused"
        elif check.body.captured_query and (kind := plan.sources[check.source].kind) not in able("own_server"):
            what = f"of a {kind} source no answers are recorded at capture, so that this check never holds"
            yield (*at[:-1], "expect"), what, "write the value instead, or a comparison such as `>= 1000`", "unsound"


# -- between plans -----------------------------------------------------------------------------------


def _between(plan: Plan, targets: Mapping[str, Target], declared: set[str], cycle: str | None) -> Iterator[Found]:
    for number, name in enumerate(plan.depends_on):
        if name not in declared:
            yield ("depends_on", number), f"there is no system {name!r}", "add its plan, or correct the name", "refused"
    if cycle:
        yield ("depends_on",), f"the dependencies run in a circle: {cycle}", "remove one of them", "refused"
    yield from places(plan, targets)


def _offsite(plan: Plan, targets: Mapping[str, Target], here: Here) -> Iterator[Found]:
    known = [targets[name] for name in plan.places if name in targets]
    if known and not any(target.is_offsite(here.is_here) for target in known):
        yield (
            ("targets",),
            "no target is offsite: what destroys this place destroys the copies too",
            "add an s3 target",
            "advice",
        )
    elif len(known) == 1:
        yield ("targets",), "there is one copy only", "add a second target", "advice"


def _scratch(plan: Plan, plans: Mapping[str, Plan], targets: Mapping[str, Target]) -> Iterator[Found]:
    """A ransomware drill attacks a scratch target, and nothing that is needed may lie there."""
    named = plan.drill.scratch
    if named is None and (attacking := next((x for x in plan.scenarios if SCENARIOS[x].attacks_scratch), None)):
        hint = "add `scratch:` with the name of a target that no plan uses, in a bucket of its own"
        yield ("drill", "scenario"), f"a {attacking} drill needs a scratch target to attack", hint, "refused"
    elif named:
        yield from _unsafe(named, plans, targets)


def _unsafe(named: str, plans: Mapping[str, Plan], targets: Mapping[str, Target]) -> Iterator[Found]:
    from dr.plan.scratch import why_unsafe  # few plans name one

    if why := why_unsafe(named, plans, targets):
        yield ("drill", "scratch"), why, "name a target that no plan uses, in a bucket of its own", "refused"


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
    yield from unreadable(("secrets", "passphrase"), plan.secrets.passphrase, env)
    yield from _kit(plan, env)
    for name, source in plan.sources.items():
        if plan.host_of(name):
            continue  # another host is asked when it is needed, not here
        for path in source.body.local_paths:
            what, hint = why_not_found(Path(path), "correct it, or mount it")
            if what:
                what = "is not there on this machine" if what == "is not there" else what
                yield ("sources", name), f"{path} {what}", hint, "advice"


def _kit(plan: Plan, env: Mapping[str, str]) -> Iterator[Found]:
    """The recovery kit that a drill begins with, and its shares."""
    drill = plan.drill
    if bool(drill.kit) != bool(drill.shares):
        lacks = "shares" if drill.kit else "kit"
        hint = "name both; or neither, and the drill begins with this host's own key"
        yield (
            ("drill", "kit" if drill.kit else "shares"),
            f"the drill's kit needs both, and lacks `{lacks}`",
            hint,
            "refused",
        )
    what, hint = why_no_directory(drill.kit, "make it with `dr kit`, or correct its path") if drill.kit else ("", "")
    if what:
        yield ("drill", "kit"), f"the kit {drill.kit} {what}", hint, "unsound"
    for number, place in enumerate(drill.shares):
        yield from secret_faults(("drill", "shares", number), place, env)

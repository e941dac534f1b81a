"""`dr doctor`: what is missing here, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Literal

from dr.errors import DrError
from dr.evidence.posture import Attempt, TargetPosture
from dr.evidence.posture import Finding as PostureFinding
from dr.plan.declarations import Loaded
from dr.plan.units import counted, format_bytes
from dr.queries.doctor import kit
from dr.queries.doctor import prerequisites as needs
from dr.queries.doctor.finding import Finding
from dr.queries.target_posture import check
from dr.run.keys.recipient import recipient_of
from dr.run.points.presence import is_there, refuse_exchanged
from dr.run.workspace.toolbox import is_detached
from dr.session import Session
from dr.targets.findings import CLOCK_HINT
from dr.tools.restic_program import find_restic, version


def examine(session: Session) -> list[Finding]:
    """Look at tools, state, plans, secrets, targets, and what sources need. Changes nothing but an absent state."""
    findings = [_python(), _restic(), _setpriv(), _state(session), _clock(session), _plans(session)]
    findings += [Finding(each.where, "degraded", each.what, each.hint) for each in session.declarations.unread]
    findings += _without_plans(session)
    findings.append(_escrow(session))
    for loaded in session.declarations.plans.values():
        findings += _places(session, loaded)
        findings += needs.of_plan(loaded.plan, loaded.path.parent)
        findings += _omissions(session, loaded)
    return findings + _targets(session, findings) + _without_us(session)


def _without_us(session: Session) -> list[Finding]:
    try:
        return kit.findings(session)
    except DrError as error:
        return [Finding("recovery kit", "failed", str(error), error.hint)]


def _clock(session: Session) -> Finding:
    """Whether the record bears times that have not come yet."""
    now = session.clock()
    try:
        newest = session.catalog.newest_start()
    except DrError as error:
        return Finding("catalog", "failed", str(error), error.hint)
    if newest and newest > now:
        ahead = f"runs are on record from {newest:%Y-%m-%d %H:%M}Z, still to come"
        return Finding("clock", "degraded", ahead, CLOCK_HINT)
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S}Z")


def _python() -> Finding:
    return Finding("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _restic() -> Finding:
    try:
        program = find_restic(os.environ)
        return Finding("restic", "ok", f"{'.'.join(map(str, version(program)))} at {program}")
    except DrError as error:
        return Finding("restic", "failed", error.what, error.hint)


def _setpriv() -> Finding:
    if shutil.which("setpriv"):
        return Finding("setpriv", "ok", "children end with this program")
    return Finding("setpriv", "degraded", "not found: after a kill -9, restic may run on alone", "install util-linux")


def _state(session: Session) -> Finding:
    try:
        session.state.make()
        loose = session.state.path.stat().st_mode & 0o077
        space = shutil.disk_usage(session.state).free
    except (DrError, OSError) as error:
        hint = error.hint if isinstance(error, DrError) else "name another with --state"
        return Finding("state", "failed", str(error), hint)
    if loose:
        return Finding("state", "degraded", f"{session.state} is open to others", f"chmod 700 {session.state}")
    return Finding("state", "ok", f"{session.state}, {format_bytes(space)} free")


def _escrow(session: Session) -> Finding:
    """Whether a recovery kit could open the repositories."""
    try:
        recipient = recipient_of(session.state, make=False)
    except DrError as error:
        return Finding("escrow", "failed", str(error), error.hint)
    switch = session.state.escrow / "recipient"
    if recipient is None and switch.exists():
        observed = "switched off: no recovery kit opens the repositories"
        return Finding("escrow", "ok", observed, f"remove {switch} to switch it on")
    return Finding("escrow", "ok", f"sealed for {recipient}" if recipient else "begins with the first backup")


def _plans(session: Session) -> Finding:
    bad = [fault for fault in session.declarations.faults if fault.fails]
    count = len(session.declarations.plans)
    if bad:
        return Finding("plans", "failed", f"{len(bad)} faults", "run `dr validate`")
    if not count:
        return Finding("plans", "failed", f"none in {session.config / 'plans'}", "run `dr init`")
    return Finding("plans", "ok", f"{count} without a fault")


def _without_plans(session: Session) -> Iterator[Finding]:
    """Yield the systems that have points, and no plan any more: it was renamed, or taken away."""
    known = {*session.declarations.files.values(), *session.declarations.plans}
    try:
        held = session.catalog.held_points()
    except DrError:
        return  # said by who looked at the clock
    for system, number in sorted(held.items()):
        if system not in known:
            observed = f"{counted(number, 'recovery point')}, and no plan: none is proven or expired, none is added"
            yield Finding(system, "degraded", observed, f"write `system: {system}` into its plan again, or a new one")


_DETACHED = "the disk is detached (allowed: `offline: true`)"


def _places(session: Session, loaded: Loaded) -> list[Finding]:
    """Whether a plan's secrets are there and its targets answer; how they are kept is looked at once a target."""
    try:
        toolbox = session.toolbox(loaded)
    except DrError as error:
        return [Finding(f"{loaded.plan.system}: secrets", "failed", str(error), error.hint)]
    findings = []
    for place in toolbox.everywhere:
        name = f"{loaded.plan.system} on {place.name}"
        if is_detached(place):
            findings.append(Finding(name, "ok", _DETACHED))
            continue
        try:
            place.store.reachable()
            there = is_there(place)
            refuse_exchanged(place)
        except DrError as error:
            findings.append(Finding(name, "failed", str(error), error.hint))
            continue
        findings.append(Finding(name, "ok", "its repository is there" if there else "no repository yet"))
    return findings


def _omissions(session: Session, loaded: Loaded) -> Iterator[Finding]:
    """What a backup made now would leave out or could not see, as each source answers."""
    try:
        toolbox = session.toolbox(loaded)
    except DrError:
        return  # said of its secrets
    for name in loaded.plan.sources:
        what = f"{loaded.plan.system}: {name}"
        try:
            omissions = toolbox.source(name).omissions()
        except DrError as error:
            yield Finding(f"{what}: whole", "failed", str(error), error.hint)
            continue
        yield from (Finding(f"{what}: whole", "degraded", each.what, each.hint) for each in omissions)


def _targets(session: Session, told: list[Finding]) -> list[Finding]:
    """The posture of each target that a plan uses; what its keys could do is told as it was last tried.

    One that cannot be looked at is a failure, unless a plan that uses it was `told` to fail there, or to do without.
    """
    used = {name for loaded in session.declarations.plans.values() for name in loaded.plan.places}
    names = sorted(used & session.declarations.targets.keys())
    found = check(session, [session.declarations.targets[name] for name in names], probing=False)
    said = {each.what.rpartition(" on ")[2] for each in told if each.outcome == "failed" or each.observed == _DETACHED}
    return [finding for checked in found for finding in _of_posture(checked.posture, said)]


def _of_posture(posture: TargetPosture, said: set[str]) -> Iterator[Finding]:
    if posture.error:
        if posture.target not in said:
            yield Finding(f"{posture.target}: how it is kept", "failed", posture.error, posture.error_hint)
        return
    if posture.probe and posture.probe.error:
        tried = f"{posture.probe.error}, {posture.probe.tried:%Y-%m-%d}"
        yield Finding(f"{posture.target}: probe", "ok", tried, posture.probe.error_hint)
    tries = posture.probe.attempts if posture.probe else ()
    whole: tuple[PostureFinding | Attempt, ...] = (*posture.findings, *tries)
    for item in whole:
        outcome: Literal["ok", "degraded"] = "degraded" if item.severity in ("high", "medium") else "ok"
        grave = f"{item.severity}: " if outcome == "degraded" else ""
        tried = f", tried {posture.probe.tried:%Y-%m-%d}" if isinstance(item, Attempt) and posture.probe else ""
        what = f"probe: {item.what}" if isinstance(item, Attempt) else item.what
        yield Finding(f"{posture.target}: {what}", outcome, f"{grave}{item.observed}{tried}", item.hint)

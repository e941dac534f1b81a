"""`dr doctor`: what is missing here, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime
from typing import Literal

from dr.errors import DrError
from dr.orchestrator import needs
from dr.orchestrator.finding import Finding
from dr.orchestrator.keys import identity_problem
from dr.orchestrator.session import Session, make_state
from dr.plan.load import Loaded
from dr.plan.units import format_duration
from dr.run.escrow import recipient_of
from dr.tools.restic import find_restic, version

_SKEW_SECONDS = 60.0  # S3 services refuse requests from 15 minutes on
_CLOCK_HINT = "set the clock, and keep it by NTP: objectives are measured by it"


def examine(session: Session) -> list[Finding]:
    """Look at tools, state, plans, secrets, targets, and what sources need. Changes nothing but an absent state."""
    findings = [_python(), _restic(), _setpriv(), _state(session), _clock(session), _plans(session), _escrow(session)]
    for loaded in session.declarations.plans.values():
        findings += _places(session, loaded)
        findings += needs.of_plan(loaded.plan)
    return findings


def _skew(session: Session, there: datetime | None) -> str:
    """Return in words by how much this machine's clock differs from a target's; nothing when it agrees."""
    off = (session.clock() - there).total_seconds() if there else 0.0
    if abs(off) <= _SKEW_SECONDS:
        return ""
    return f"this machine's clock is {format_duration(abs(off))} {'ahead of' if off > 0 else 'behind'} the target's"


def _clock(session: Session) -> Finding:
    """Whether the record bears times that have not come yet."""
    now = session.clock()
    try:
        newest = session.catalog.newest_start()
    except DrError as error:
        return Finding("catalog", "failed", str(error), error.hint)
    if newest and newest > now:
        ahead = f"runs are on record from {newest:%Y-%m-%d %H:%M}Z, still to come"
        return Finding("clock", "degraded", ahead, _CLOCK_HINT)
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
        make_state(session.state)
        loose = session.state.stat().st_mode & 0o077
        space = shutil.disk_usage(session.state).free
    except (DrError, OSError) as error:
        return Finding("state", "failed", str(error), "name another with --state")
    if loose:
        return Finding("state", "degraded", f"{session.state} is open to others", f"chmod 700 {session.state}")
    return Finding("state", "ok", f"{session.state}, {space // 2**20} MiB free")


def _escrow(session: Session) -> Finding:
    """Whether a recovery kit could open the repositories, and who else could."""
    try:
        recipient, problem = recipient_of(session.state, make=False), identity_problem(session)
    except DrError as error:
        return Finding("escrow", "failed", str(error), error.hint)
    switch = session.state / "escrow" / "recipient"
    if recipient is None and switch.exists():
        observed = "switched off: no recovery kit opens the repositories"
        return Finding("escrow", "ok", observed, f"remove {switch} to switch it on")
    if problem:
        return Finding("escrow", "degraded", problem, "hand the secret to custodians with a recovery kit")
    return Finding("escrow", "ok", f"sealed for {recipient}" if recipient else "begins with the first backup")


def _plans(session: Session) -> Finding:
    bad = [fault for fault in session.declarations.faults if fault.severity != "advice"]
    count = len(session.declarations.plans)
    if bad:
        return Finding("plans", "failed", f"{len(bad)} faults", "run `dr validate`")
    if not count:
        return Finding("plans", "failed", f"none in {session.config / 'plans'}", "run `dr init`")
    return Finding("plans", "ok", f"{count} without a fault")


def _places(session: Session, loaded: Loaded) -> list[Finding]:
    try:
        toolbox = session.toolbox(loaded)
    except DrError as error:
        return [Finding(f"{loaded.plan.system}: secrets", "failed", str(error), error.hint)]
    findings = []
    for place in toolbox.places:
        name = f"{loaded.plan.system} on {place.name}"
        try:
            place.store.reachable()
            posture = place.store.preflight()
        except DrError as error:
            findings.append(Finding(name, "failed", str(error), error.hint))
            continue
        if skew := _skew(session, posture.clock):
            findings.append(Finding(f"{loaded.plan.system} on {place.name}: clock", "degraded", skew, _CLOCK_HINT))
        outcome: Literal["ok", "degraded"] = "degraded" if posture.public_access == "open" else "ok"
        hint = "let nobody but its owner in: a public bucket, or a directory open to all" if outcome != "ok" else ""
        findings.append(Finding(name, outcome, posture.in_words(), hint))
    return findings

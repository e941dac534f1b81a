"""The live tools of a plan, made: each target opened with its passphrase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import RefusedError
from dr.evidence.look import NOTHING, Known
from dr.plan.on_disk import why_unreadable
from dr.run.workspace.breaker import Breaker, believed_from
from dr.run.workspace.key_record import key_hint
from dr.run.workspace.toolbox import Place, Toolbox
from dr.sources.secret import read_secret
from dr.targets.kinds import driver_of
from dr.tools.restic import Repository, Throttle
from dr.tools.secrets import generated_passphrase

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.site import Limits
    from dr.plan.target import Target
    from dr.tools.meter import Meter
    from dr.tools.state_dir import StateDir


def open_toolbox(
    plan: Plan,
    targets: Mapping[str, Target],
    *,
    digest: str,
    state: StateDir,
    plan_dir: Path,
    restic: str,
    versions: Mapping[str, str],
    known: Mapping[str, Known] | None = None,
    installation: str = "",
    limits: Limits | None = None,
    clock: Callable[[], datetime] | None = None,
    begun: datetime | None = None,
    unattended: bool = False,
    meters: dict[tuple[str, str], Meter] | None = None,
) -> Toolbox:
    """Make the tools of a plan. Raises `RefusedError` when a named secret cannot be read.

    `known` is by target what is on record of the system's repository there, `installation` the id of this one;
    With a `clock` targets that another system just saw down are not asked again in a command that was `begun` then, or
    in the last minutes where it is `unattended`; `meters`, by system and target, count what passes there, and are made
    when absent.
    """
    first, record = plan.targets[0], known or {}
    now = clock() if clock else datetime.now(UTC)
    since = believed_from(now, begun=begun or now, rpo=plan.objectives.rpo, unattended=unattended)

    def opened(name: str, key_of: str = "") -> Place:
        known = record.get(name, NOTHING)
        place = open_place(
            plan,
            targets[name],
            state=state,
            restic=restic,
            key_of=key_of,
            known=known,
            limits=limits,
            meter=_meter(meters, plan.system, targets[name]),
        )
        return replace(place, breaker=Breaker(state.down / name, clock, since) if clock else None)

    places = tuple(opened(name) for name in plan.targets)
    replicas = tuple(opened(name, first) for name in plan.replicas)
    return Toolbox(
        plan=plan,
        digest=digest,
        state=state,
        plan_dir=plan_dir,
        places=places,
        replicas=replicas,
        versions=versions,
        installation=installation,
    )


def _meter(meters: dict[tuple[str, str], Meter] | None, system: str, target: Target) -> Meter | None:
    if meters is None or target.declared.counts == "nothing":
        return None
    from dr.tools.meter import Meter

    return meters.setdefault((system, target.target), Meter())


def open_place(
    plan: Plan,
    target: Target,
    *,
    state: StateDir,
    restic: str,
    key_of: str = "",
    known: Known = NOTHING,
    limits: Limits | None = None,
    meter: Meter | None = None,
) -> Place:
    """Make the tools of one plan on one target, opened with the passphrase of the target `key_of` (its own)."""
    opens = key_of or target.target
    secret_env = _passphrase(plan, opens, state) | key_hint(state, plan.system, opens)
    opened = driver_of(target, state, meter=meter).open(seen=known.held)
    repository = Repository(
        program=restic,
        location=f"{opened.location}/{plan.system}",
        where=f"{plan.system} on {target.target}",
        host=plan.system,
        env={**secret_env, **opened.env},
        cache=state.cache / "restic",
        options=opened.options,
        limits=Throttle(upload=limits.upload, download=limits.download, memory=limits.memory) if limits else Throttle(),
    )
    root = opened.store
    evidence = root.child(f"_evidence/{plan.system}")
    return Place(target.target, target, repository, root.child(plan.system), evidence, root, known, meter=meter)


def _passphrase(plan: Plan, target: str, state: StateDir) -> dict[str, str]:
    grave = state.tombstone(plan.system, target)
    if grave.exists():
        raise RefusedError(
            "the keys of this system were destroyed: nothing opens its copies any more",
            f"{plan.system} on {target}",
            grave.read_text("utf-8").strip(),
            hint="remove its plan; to protect the system again, give it another name",
        )
    declared, carried = plan.secrets.passphrase, state.carried_passphrase(plan.system, target)
    if carried.is_file():
        return {"RESTIC_PASSWORD_FILE": str(_as_restic_reads(carried))}
    if declared is None:
        path = _as_restic_reads(state.passphrase(plan.system, target))
        return {"RESTIC_PASSWORD_FILE": str(path)}
    return {"RESTIC_PASSWORD": read_secret(declared, f"{plan.system}: secrets.passphrase")}


def _as_restic_reads(path: Path) -> Path:
    """Return a passphrase file of ours, made when absent; `RefusedError` where others would read something else."""
    problem, hint = why_unreadable(generated_passphrase(path).read_bytes())
    if problem:
        raise RefusedError(f"the passphrase file {problem}", str(path), hint=hint)
    return path

"""`dr expire`: the plan's retention where backups write, by recovery point; then space is freed, the rest proven.

To expire and to prune are two runs, each on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dr.errors import LOCKED, DrError, InterruptedRunError, LockedError, every_error
from dr.evidence.acts import Expiration, Pruning
from dr.late_dataclass import dataclass
from dr.operations.expire_target import ExpireOptions, expired_of, expiring
from dr.operations.lifecycle import (
    Finished,
    Run,
    carry_out,
    foresee,
    not_begun,
    run_of,
)
from dr.operations.prune import prune_target
from dr.operations.side_by_side import across
from dr.plan.declarations import Loaded
from dr.queries.schedule import due_now, expiring_targets
from dr.run.expiry.rules import Decision
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.tools import command, process

#: The two verbs, in the order in which they are done.
EXPIRY: tuple[Literal["expire", "prune"], ...] = ("expire", "prune")


@dataclass(frozen=True)
class ExpireResult:
    """What came of one target: of either verb, where it ran; `decision` says of each point why it stays."""

    system: str
    target: str
    expiration: Finished[Expiration] | None = None
    pruning: Finished[Pruning] | None = None
    decision: Decision | None = None


def expire_all(session: Session, items: Sequence[Loaded], options: ExpireOptions) -> list[ExpireResult]:
    """Do it for several systems side by side, and for each on the targets that backups write to, one by one."""
    found = across(session, items, lambda loaded: expire_one(session, loaded, options))
    return [result for results in found for result in results]


def expire_one(
    session: Session, loaded: Loaded, options: ExpireOptions, *, targets: Sequence[str] = ()
) -> list[ExpireResult]:
    """Expire and prune one system, on some targets or all that backups write to. One that fails stops no other."""
    wanted = [name for name in loaded.plan.targets if not targets or name in targets]
    if loaded.plan.retention is None:
        return []
    results: list[ExpireResult] = []
    try:
        with every_error(), session.locked(loaded.plan.system):
            _refuse_readers(session, loaded.plan.system)
            toolbox = session.toolbox(loaded)
            for place in (toolbox.place(name) for name in wanted):
                if not command.stopping():
                    results.append(_on_target(session, loaded, toolbox, place, options))
            return results
    except InterruptedRunError:
        raise
    except DrError as error:
        done = {result.target for result in results}
        return [*results, *(_untried(session, loaded, x, error, options) for x in wanted if x not in done)]


def expire_due(session: Session, items: Sequence[Loaded], *, dry_run: bool = False) -> list[ExpireResult]:
    """Expire and prune what is due of either."""
    wanted = {verb: [x.plan.system for x in due_now(session, list(items), verb)] for verb in EXPIRY}
    some = [loaded for loaded in items if any(loaded.plan.system in names for names in wanted.values())]

    def act(loaded: Loaded) -> list[ExpireResult]:
        due = {verb: loaded.plan.system in names for verb, names in wanted.items()}
        return expire_due_of(session, loaded, ExpireOptions(**due, dry_run=dry_run))

    return [result for results in across(session, some, act) for result in results] if some else []


def expire_due_of(session: Session, loaded: Loaded, options: ExpireOptions) -> list[ExpireResult]:
    """Do of one system what the options name, on the targets where dr may remove something; nothing where none is."""
    targets = expiring_targets(loaded.plan, session.declarations.targets)
    return (
        expire_one(session, loaded, options, targets=targets) if targets and (options.expire or options.prune) else []
    )


def _refuse_readers(session: Session, system: str) -> None:
    """Raise `LockedError` while a run that may read an older point is at work."""
    for run in session.catalog.open_runs(system):
        if run.verb in ("drill", "recovery", "replicate") and process.alive(run.process):
            raise LockedError(f"a {run.verb} of {system} is under way", system, hint="wait until it ends")


def _untried(session: Session, loaded: Loaded, target: str, error: DrError, options: ExpireOptions) -> ExpireResult:
    """What could not be begun: on record, unless another run is at work."""
    verb = expiring(target)
    run = run_of(session, loaded, verb)

    def raised(_: Run) -> Expiration:
        raise error

    if error.exit_code == LOCKED:
        finished = not_begun(run, verb, error)
    else:
        finished = (foresee if options.dry_run else carry_out)(run, verb, raised)
    return ExpireResult(loaded.plan.system, target, finished)


def _on_target(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, options: ExpireOptions
) -> ExpireResult:
    held: list[Decision] = []
    expiration = pruning = None
    if options.expire:
        verb = expiring(place.name)
        run = run_of(session, loaded, verb)
        act = foresee if options.dry_run else carry_out
        expiration = act(run, verb, lambda run: expired_of(run, toolbox, place, options, held))
    worked = expiration is None or (expiration.record.outcome == "ok" and not expiration.record.blocked)
    if options.prune and worked and place.target.expires and not options.dry_run and not command.stopping():
        pruning = prune_target(session, loaded, toolbox, place)
    return ExpireResult(loaded.plan.system, place.name, expiration, pruning, held[0] if held else None)

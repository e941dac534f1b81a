"""The command verify, and what is said of proofs once they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dr.cli.choose import chosen, systems_and_all
from dr.cli.context import Context, pass_context, without_place
from dr.errors import OK
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import Proof
    from dr.operations.lifecycle import Finished


@click.command("verify")
@systems_and_all
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    default=3,
    show_default=True,
    help="1 structure, 2 stored bytes, 3 a decrypted sample.",
)
@click.option(
    "--whole", is_flag=True, help="Read everything now, and decrypt it at level 3, whatever the plan's `proof` says."
)
@pass_context
def verify_command(
    context: Context, systems: tuple[str, ...], everything: bool, due: bool, level: int, whole: bool
) -> None:
    """Prove what is stored: structure, every stored byte, and a decrypted sample that rotates.

    Everything is listed each time. What is new or changed is read, then what was not read for longest, as much as
    `proof` in the plan says; a small repository is read whole.
    """
    items = chosen(context, systems, everything=everything, due="verify" if due else None)
    from dr.operations.verify import verify_all

    say_proofs(context, verify_all(context.session, items, level=level, whole=whole))


def say_proofs(context: Context, results: list[Finished[Proof]]) -> None:
    """Tell of proofs, and note their exit codes."""
    from dr.report.documents import proof_document

    context.put(proofs=[proof_document(result.record) for result in results])
    for result in results:
        proof = result.record
        if proof.outcome == "skipped" and result.exit_code == OK:
            hint = f"run `dr replicate {proof.system}`"
            context.warn(f"{proof.error}, so nothing is proven there", f"{proof.system} on {proof.target}", hint)
            continue
        context.say(
            f"{proof.system} on {proof.target}: {proof.outcome}, proven to level {proof.level_reached} "
            f"of {proof.level_asked}{_read(proof)} in {format_duration(proof.seconds)}{_covered(proof)}"
        )
        where = f"{proof.system} on {proof.target}"
        if proof.error:
            hint = proof.error_hint or (_damage_hint(proof) if proof.doubtful_points else _way_on(proof))
            context.complain(without_place(proof.error, where), where, hint)
        for damage in sorted(proof.damage, key=lambda each: each.problem == "unreferenced"):
            unused = damage.problem == "unreferenced"
            say = context.warn if unused else context.complain
            say(f"object {damage.object} is {damage.problem}", where, "" if unused else _damage_hint(proof))
        for problem in result.problems:
            context.warn(problem, proof.system)
        context.ended(result.exit_code)


def _read(proof: Proof) -> str:
    """Say how much was read, where stored bytes were looked at."""
    from dr.report.coverage import looked

    return f", {counted(proof.objects, 'object')}, {format_bytes(proof.bytes)}" if looked(proof) else ""


def _covered(proof: Proof) -> str:
    """Say what a proof rests on, where that is more than what this run read."""
    from dr.report.coverage import said

    seen = proof.coverage
    if seen is None or seen.read_objects == seen.objects:
        return ""
    return f"; of {counted(seen.objects, 'object')}, {format_bytes(seen.bytes)}" + (
        f": {said(seen)}" if said(seen) else ""
    )


def _way_on(proof: Proof) -> str:
    """Say what to do where something is wrong and no object is named: restic's check reads no bytes of most."""
    if proof.outcome == "skipped":
        return "wait until it ends"
    names = f"run `dr verify {proof.system} --level 2`, which names the damaged objects; "
    repair = f"run `dr repair {proof.system} --target {proof.target}`, then `dr verify` again"
    return f"{names if proof.level_asked < 2 else ''}{repair}"


def _damage_hint(proof: Proof) -> str:
    if proof.error_hint:
        return str(proof.error_hint)
    if proof.lost and all(d.problem == "missing" and d.object.startswith("snapshots/") for d in proof.damage):
        from dr.run.points.presence import begin_again

        return f"recover from another target; only if it is really lost: {begin_again(proof.system, proof.target)}"
    repair = f"run `dr repair {proof.system} --target {proof.target}`"
    if proof.doubtful_points:
        point = proof.doubtful_points[0]
        return f"{repair}; until then `dr recover {proof.system} --point {point} --to DIR` recovers a doubtful point"
    return f"recover from another point or target; {repair}, then back up again"

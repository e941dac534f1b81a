"""The recovery kit: make it, test it, replace it, and open it on an empty machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr.cli.context import Context, pass_context
from dr.cli.typed import whole_path
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.operations.kit_files import KitWanted
    from dr.operations.make_kit import KitDone

_PATH = click.Path(path_type=Path)
_SHARE = click.option("--share", "shares", multiple=True, type=_PATH, help="A custodian's share: its text file.")
_WHO = click.option("--custodian", "custodians", multiple=True, metavar="ROLE", help="Who gets a share: a role.")
_MANY = click.option("--threshold", type=click.IntRange(1, 16), help="How many shares open the kit.")
_OUT = click.option("-o", "--output", "out", type=_PATH, help="The new directory for the kit and the shares.")
_PAPER = click.option("--paper", type=click.Choice(("A4", "Letter")), help="The paper of the pages.")


@click.group("kit", invoke_without_command=True)
@_WHO
@_MANY
@_OUT
@_PAPER
@_SHARE
@click.option("--keep-identity", is_flag=True, hidden=True, help="Leave the secret on this host too.")
@click.pass_context
def kit_command(ctx: click.Context, /, **asked: Any) -> None:
    """Write the recovery kit: all that a recovery on an empty machine needs, opened by M of N custodians' shares.

    The custodians and the threshold are named here, or in kit.yaml beside the plans. Afterwards the secret that the
    shares give is no longer on this host.
    """
    context = ctx.find_object(Context)
    assert context is not None  # noqa: S101 - the program gives one
    if ctx.invoked_subcommand is not None:
        if given := [name for name, value in asked.items() if value]:
            raise UsageError(f"--{given[0]} stands before {ctx.invoked_subcommand}", hint="write options after it")
        return
    from dr.operations.make_kit import make_kit

    _say_made(context, make_kit(context.session, _wanted(context, old=None, **asked)))


def _wanted(context: Context, /, **asked: Any) -> KitWanted:
    from dr.operations.kit_files import KitWanted
    from dr.plan.kit import load_kit_plan

    named = load_kit_plan(context.config_dir)
    custodians = asked.pop("custodians") or (named.custodians if named else ())
    threshold = asked.pop("threshold") or (named.threshold if named else 0)
    paper = asked.pop("paper") or (named.paper if named else "A4")
    if not custodians or not threshold:
        raise UsageError(
            "neither custodians nor a threshold is named" if not custodians else "no threshold is named",
            "--custodian" if not custodians else "--threshold",
            hint="say --custodian ROLE for each, and --threshold; or write them into kit.yaml beside the plans",
        )
    out = asked.pop("out")
    if out is None:
        raise UsageError("no directory for the kit was named", "-o", hint="name a new directory")
    return KitWanted(custodians=custodians, threshold=threshold, paper=paper, out=whole_path(out), **asked)


def _say_made(context: Context, done: KitDone) -> None:
    from dr.report.documents import kit_made_document

    fact, kit = done.fact, done.folder.kit
    context.put(
        kits=[
            kit_made_document(
                fact,
                evidence_digest=done.sealed.digest,
                directory=done.folder.path,
                pages=done.pages,
                secret_here=done.secret_here,
            )
        ]
    )
    context.say(f"kit {kit.kit_id}: {fact.act}, {fact.outcome}, opens with any {kit.threshold} of its shares")
    context.say(f"  the kit    {done.folder.path}: copy it to where a fire here would not find it")
    for number, role in enumerate(kit.custodians, 1):
        folder = done.folder.path.parent / "shares"
        context.say(f"  share {number}    for {role}: {folder}/share-{number}-of-{len(kit.custodians)}.pdf and .txt")
    context.say(f"  next       hand each share to its custodian, then remove {done.folder.path.parent / 'shares'}")
    where = "still on this host, as you asked: who takes this host opens every copy" if done.secret_here else ""
    context.say(f"  the secret is {where or 'no longer on this host'}")
    for note in fact.notes:
        context.warn(note, kit.kit_id)
    for text in kit.left_out:
        if text not in fact.notes:
            context.warn(f"not in the kit: {text}", kit.kit_id)
    context.ended(done.exit_code)


@kit_command.command("replace", short_help="Make a kit in place of another.")
@click.argument("old", required=False, type=_PATH, metavar="[KIT]")
@_WHO
@_MANY
@_OUT
@_PAPER
@_SHARE
@click.option("--same-identity", is_flag=True, help="Keep the secret; the old shares then go on opening everything.")
@pass_context
def replace_command(context: Context, /, old: Path | None, same_identity: bool, **asked: Any) -> None:
    """Make a kit in place of another: a custodian was lost, or has left.

    A new secret is begun and every escrow key made again, so that old shares open nothing that is sealed from now on.
    The old KIT and its shares are needed with --same-identity only; given, they are looked at first.
    """
    from dr.operations.make_kit import replace_kit

    done = replace_kit(context.session, _wanted(context, old=old, **asked), same_identity=same_identity)
    _say_made(context, done)
    context.say(f"  old shares {_OLD_SAME if same_identity else _OLD}")


_OLD = "open what was sealed before today, with the passphrases and keys of then: change those if shares were stolen"
_OLD_SAME = "still open everything: only a new secret (without --same-identity) ends that"


_KEYS = {"escrow": "escrow key", "passphrase": "own passphrase"}


@kit_command.command("test")
@click.argument("kit", type=_PATH)
@_SHARE
@pass_context
def test_command(context: Context, kit: Path, shares: tuple[Path, ...]) -> None:
    """Prove that a KIT opens every repository today. Exit 3 when something has changed since it was made."""
    from dr.operations.prove_kit import prove_kit
    from dr.report.documents import kit_tested_document

    done = prove_kit(context.session, kit, shares)
    fact = done.fact
    document = kit_tested_document(fact, evidence_digest=done.sealed.digest, directory=kit.absolute())
    context.put(kits=[document])
    used = ", ".join(map(str, fact.shares))
    context.say(f"kit {fact.kit_id}: tested, {fact.outcome}, with the shares {used} of {len(fact.custodians)}")
    for each in fact.repositories:
        many = "1 snapshot" if each.snapshots == 1 else f"{each.snapshots} snapshots"
        told = f"opened by its {_KEYS[each.key]}, {many}" if each.opened else f"not opened: {each.error}"
        context.say(f"  {each.system} on {each.target}: {told}")
        if each.error:
            where = f"{each.system} on {each.target}"
            context.complain(each.error, where, each.error_hint or "fix it, or replace the kit")
    for text in (*fact.stale, *fact.notes):
        context.warn(text, fact.kit_id)
    if fact.stale:
        context.say("the kit is older than what it is for: make a new one with `dr kit replace`")
    context.ended(done.exit_code)


@kit_command.command("open", short_help="Begin on an empty machine from a kit.")
@click.argument("kit", type=_PATH)
@_SHARE
@click.option("--to", "to", required=True, type=_PATH, help="The new directory for the configuration and the state.")
@click.option("--kit-only", is_flag=True, help="Use the copy in the kit; ask no target for a newer one.")
@pass_context
def open_command(context: Context, kit: Path, shares: tuple[Path, ...], to: Path, kit_only: bool) -> None:
    """Make a configuration and a state from a KIT, on a machine that has nothing else.

    The newest copy of plans, catalog and keys is taken from the first target that has a newer one than the kit.
    """
    from dr.operations.open_kit import open_kit
    from dr.report.documents import kit_opened_document

    done = open_kit(kit, shares, whole_path(to), kit_alone=kit_only)
    made = f"{done.copy.made:%Y-%m-%d %H:%M:%S}Z"
    context.put(kits=[kit_opened_document(done, copy=done.copy.name, made=done.copy.made)])
    whence = "the kit itself" if done.taken_from == "kit" else f"the target {done.taken_from}"
    context.say(f"opened: the copy of {made}, from {whence}; systems: {', '.join(done.systems)}")
    for note in done.notes:
        context.warn(note)
    places = f"--config {done.config} --state {done.state}"
    context.say(f"next: dr {places} points rebuild")
    context.say(f"then: dr {places} recover SYSTEM --to DIR")


@kit_command.command("rehearse", hidden=True)
@click.argument("room", type=_PATH)
@pass_context
def rehearse_command(context: Context, room: Path) -> None:
    """Be the clean room of a drill of control-loss: what `dr drill` starts, in an environment of its own."""
    from dr.operations.clean_room import rehearse

    context.put(**rehearse(room))

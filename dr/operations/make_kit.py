"""`dr kit`: the recovery kit is made, handed to its custodians, and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

from dr.errors import DrError, InterruptedRunError, RefusedError, UsageError, code_of
from dr.evidence.acts import KitAct
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.operations.kit_files import ESCROW_OF, SECRETS_OF, KitWanted, kit_files, pages_of, sheet_of
from dr.operations.lifecycle import put_on_record
from dr.operations.rotate_keys import rotate_keys
from dr.operations.self_backup import save_everywhere
from dr.run.keys import escrow, host_keys
from dr.run.keys.recipient import identity_here, recipient_of
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.kit import (
    SELF_COPY,
    SHARES,
    KitFolder,
    beside,
    find_kit,
    identity_of,
    is_free,
    read_shares,
    write_out,
)
from dr.session import Session, new_id
from dr.tools import age, shares
from dr.tools.shares import Share


@dataclass(frozen=True, kw_only=True)
class KitDone:
    """What was made, and its sealed record."""

    fact: KitAct
    sealed: Sealed
    folder: KitFolder
    pages: tuple[Path, ...] = ()
    secret_here: bool = False  # seen afterwards: whether this host still holds what the shares give

    @property
    def exit_code(self) -> int:
        """Degraded when something is not in the kit that should be."""
        return code_of(self.fact.outcome)


def make_kit(
    session: Session, wanted: KitWanted, *, act: Literal["made", "replaced"] = "made", notes: tuple[str, ...] = ()
) -> KitDone:
    """Write a kit and its custodians' shares, prove that they open it, then take the identity from this host.

    Killed at any instant, the identity is here or the proven shares are on the disk; run again, it goes on.
    Raises `UsageError` with nothing touched when the host has no identity and no shares give it. `notes` are what
    could not be done before, in words, and make the result degraded.
    """
    refuse_unfit(wanted)
    with _alone(session):
        return _make(session, wanted, act=act, notes=notes)


def _alone(session: Session) -> AbstractContextManager[None]:
    session.state.make()
    return session.state.hold("kit", what="another run makes a recovery kit")


def _make(
    session: Session, wanted: KitWanted, *, act: Literal["made", "replaced"], notes: tuple[str, ...] = ()
) -> KitDone:
    started = session.clock()
    about = KitAct(
        run_id=new_id("kit-", started), act=act, outcome="ok", started=started, finished=started, notes=notes
    )
    host_keys.sweep_noted(session.state)
    if (there := _unfinished(session, wanted)) is not None:
        return _hand_over(session, there, keep=wanted.keep_identity, about=about)
    identity = _identity(session, wanted)
    parts = shares.split(identity, threshold=wanted.threshold, count=len(wanted.custodians))
    _prove_shares(parts, identity, wanted.threshold)
    kit, files = kit_files(session, wanted, parts, identity, made=started)
    sheet = sheet_of(kit, shares.first_words(parts))
    with host_keys.noted(session.state, beside(wanted.out)):
        write_out(wanted.out, files, pages_of(sheet, parts, wanted))
    return _hand_over(session, find_kit(wanted.out), keep=wanted.keep_identity, about=about)


def refuse_unfit(wanted: KitWanted) -> None:
    """Raise `UsageError` for custodians that cannot be."""
    if not wanted.custodians:
        raise UsageError("no custodian was named", "--custodian", hint="name each custodian's role; at least two")
    doubled = {role for role in wanted.custodians if wanted.custodians.count(role) > 1}
    if doubled:
        raise UsageError(
            f"the custodian {min(doubled)!r} stands twice", "--custodian", hint="one share each: number the roles"
        )
    shares.refuse_numbers(threshold=wanted.threshold, count=len(wanted.custodians))


def _unfinished(session: Session, wanted: KitWanted) -> KitFolder | None:
    """Return the kit that an earlier run has written whole, and was killed before it could hand over."""
    if is_free(wanted.out):
        return None
    try:
        there = find_kit(wanted.out)
    except DrError:
        there = None
    secret = identity_here(session.state)
    same = there and secret and age.recipient_of(secret) == there.kit.recipient
    if there and same and (there.kit.custodians, there.kit.threshold) == (wanted.custodians, wanted.threshold):
        return there
    raise UsageError("the directory is not empty", str(wanted.out), hint="name a new or empty directory")


def _identity(session: Session, wanted: KitWanted) -> str:
    """Return the organisation's identity: the one here, or the one that an earlier kit's shares give."""
    recipient = recipient_of(session.state)
    if recipient is None:
        raise UsageError("escrow is switched off", "escrow/recipient", hint="take the word `none` out of that file")
    secret = identity_here(session.state)
    if secret is None and wanted.shares:
        given = read_shares(wanted.shares)
        secret = identity_of(find_kit(wanted.old).kit, given) if wanted.old else shares.combine(given)
    if secret is None:
        raise UsageError(
            "this host has no identity any more: custodians hold it already",
            hint="bring their shares with --share, or begin again with `dr kit replace`",
        )
    if age.recipient_of(secret) != recipient:
        raise RefusedError(
            "these shares give an older identity than the one in use", hint="bring the newest kit's shares"
        )
    return secret


def _prove_shares(parts: Sequence[Share], identity: str, threshold: int) -> None:
    """See that the shares give the identity back: as many neighbours as are needed, from each share on."""
    ring = [*parts, *parts]
    for start in range(len(parts)):
        if shares.combine(islice(ring, start, start + threshold)) != identity:
            raise DrError("the shares do not give the secret back", hint="make the kit again; nothing was changed")


def _hand_over(session: Session, folder: KitFolder, *, keep: bool, about: KitAct) -> KitDone:
    """Read the kit again from the disk; when its shares open it, take the identity from this host, and record it."""
    if damage := folder.damage():
        raise DrError(f"the kit was not written whole: {damage[0]}", str(folder.path), hint="write it elsewhere")
    pages = sorted((folder.path.parent / SHARES).iterdir())
    given = read_shares([path for path in pages if path.suffix == ".txt"])
    if len(given) != len(folder.kit.custodians):
        raise DrError("shares are missing from the kit", str(folder.path), hint="write it elsewhere")
    identity = identity_of(folder.kit, given)
    _prove_shares(sorted(given, key=lambda share: share.index), identity, folder.kit.threshold)
    key = host_keys.control_key(session.state)
    copy = selfcopy.unpack(folder.read(SELF_COPY), identity=identity, key=key, name=folder.kit.self_copy)
    if not keep:
        escrow.take_identity(session.state)
    unread = [text for text in folder.kit.left_out if text.startswith((SECRETS_OF, ESCROW_OF))]
    fact = replace(
        about,
        outcome="ok" if copy.genuine and not (unread or about.notes) else "degraded",
        finished=session.clock(),
        kit_id=folder.kit.kit_id,
        threshold=folder.kit.threshold,
        custodians=folder.kit.custodians,
        notes=(*about.notes, *unread),
        versions=session.versions,
    )
    here = identity_here(session.state) is not None
    sealed = put_on_record(session, fact)
    done = KitDone(fact=fact, sealed=sealed, folder=folder, pages=tuple(pages), secret_here=here)
    save_everywhere(session)
    return done


def replace_kit(session: Session, wanted: KitWanted, *, same_identity: bool = False) -> KitDone:
    """Make a kit in place of another: with a new identity, for which every escrow key is made anew.

    With `same_identity` the old kit's shares are needed, and go on opening everything. Where a target does not answer
    its escrow key is made anew by the next backup, and the result is degraded until then.
    """
    refuse_unfit(wanted)
    if not is_free(wanted.out):
        raise UsageError("the directory is not empty", str(wanted.out), hint="name a new or empty directory")
    if wanted.shares:
        given = read_shares(wanted.shares)
        if wanted.old:
            identity_of(find_kit(wanted.old).kit, given)
    if same_identity:
        return make_kit(session, wanted, act="replaced")
    with _alone(session):
        escrow.new_recipient(session.state)
        late = renew_all(session)
        return _make(session, replace(wanted, shares=(), old=None), act="replaced", notes=tuple(late))


def renew_all(session: Session) -> list[str]:
    """Make the escrow key of every repository anew, recorded; return where that has to wait, and why."""
    late: list[str] = []
    for loaded in session.usable()[0]:
        if not session.points(loaded):
            continue  # its escrow keys are made with its first point
        try:
            event = rotate_keys(session, loaded, escrow=True).record
        except InterruptedRunError:
            raise
        except DrError as error:
            late.append(f"{loaded.plan.system}: {_LATER}: {error.what}")
            continue
        if event.outcome == "aborted":
            raise InterruptedRunError("stopped on request", hint="run `dr kit` to finish: the secret is on this host")
        where = f"{loaded.plan.system} on"
        late += [f"{where} {each.target}: {_LATER}: {each.error}" for each in event.targets if each.error]
        late += [f"{where} {each.target}: {note}" for each in event.targets for note in each.notes if each.left]
    return late


_LATER = "its escrow key is made again by the next backup"

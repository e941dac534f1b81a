"""What a kit is made of: a self-copy, escrow keys, sheets to print, and what is left out of it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import dr
from dr.errors import RefusedError
from dr.late_dataclass import dataclass
from dr.operations.self_backup import make_copy
from dr.plan.declarations import Loaded
from dr.report.kit_texts import COMBINE, KitSheet, ShareSheet, readme, share_text
from dr.report.pdf import Paper, instructions, share_page
from dr.run.keys import host_keys
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import CONTROL, by_hand
from dr.run.kit.kit import (
    DESCRIPTION,
    ESCROW,
    SELF_COPY,
    SUMS,
    Kit,
    System,
    checksums,
)
from dr.session import Session
from dr.tools import age, shares
from dr.tools.shares import Share

#: How what is not in a kit, and should be, is told.
SECRETS_OF = "the secrets of"

ESCROW_OF = "the escrow key of"


@dataclass(frozen=True, kw_only=True)
class KitWanted:
    """What kit is wanted. `old` and `shares` are an earlier kit and its shares, where the host has no identity."""

    custodians: tuple[str, ...]
    threshold: int
    out: Path
    paper: Paper = "A4"
    old: Path | None = None
    shares: tuple[Path, ...] = ()
    keep_identity: bool = False


def kit_files(
    session: Session, wanted: KitWanted, parts: Sequence[Share], identity: str, *, made: datetime
) -> tuple[Kit, dict[str, bytes]]:
    """Return the description of a new kit, and its files by name, with their checksums; not the shares' pages."""
    name, sealed = make_copy(session)
    copy = selfcopy.unpack(sealed, identity=identity, key=host_keys.control_key(session.state), name=name)
    control = copy.json(CONTROL)
    items = in_recovery_order(session.usable()[0])
    sealings, foreign = _sealings(session, identity)
    declared = copy.below("config")
    targets = {x.removeprefix("targets/"): data for x, data in declared.items() if x.startswith("targets/")}
    kit = Kit(
        kit_id=f"kit-{made:%Y%m%d}-{secrets.token_hex(3)}",
        made=made,
        threshold=wanted.threshold,
        custodians=wanted.custodians,
        share_set=parts[0].set_id,
        recipient=age.recipient_of(identity),
        self_copy=name,
        systems=tuple(
            System(system=x.plan.system, title=x.plan.title, plan=x.path.name, digest=x.digest, targets=x.plan.places)
            for x in items
        ),
        targets={x.removesuffix(".yaml"): selfcopy.digest_of({"": data}) for x, data in targets.items()},
        versions={**session.versions, "dr": dr.__version__},
        left_out=(*(str(text) for text in _list(control.get("left_out"))), *foreign),
    )
    sheet = sheet_of(kit, shares.first_words(parts))
    hands = [by_hand(x, session.declarations.targets) for x in items]
    files = {
        DESCRIPTION: kit.to_json(),
        "README.txt": readme(sheet).encode(),
        "kit.pdf": instructions(sheet, wanted.paper),
        "combine.py": COMBINE.encode(),
        "by-hand.txt": "\n".join(hands).encode(),
        SELF_COPY: sealed,
        **{f"{ESCROW}/{x}.age": data for x, data in sealings.items()},
        **{x: data for x, data in declared.items() if x.endswith((".yaml", ".yml"))},
    }
    return kit, {**files, SUMS: checksums(files)}


def _sealings(session: Session, identity: str) -> tuple[dict[str, bytes], list[str]]:
    """Return the sealed escrow passphrases that the identity opens; and where one is still sealed for another."""
    found, foreign = {}, []
    for name, sealed in host_keys.sealed_escrow(session.state).items():
        try:
            age.unseal(sealed, identity)
        except RefusedError:
            foreign.append(f"{ESCROW_OF} {name}: it is still sealed for an older secret, until the next backup")
        else:
            found[name] = sealed
    return found, foreign


def in_recovery_order(items: Sequence[Loaded]) -> list[Loaded]:
    """Return plans so that what a system depends on comes before it, else as they were given: by priority."""
    known, done = {item.plan.system: item for item in items}, dict[str, Loaded]()

    def visit(item: Loaded) -> None:
        if item.plan.system not in done:
            for name in item.plan.depends_on:
                if name in known:
                    visit(known[name])
            done[item.plan.system] = item

    for item in items:
        visit(item)
    return list(done.values())


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def sheet_of(kit: Kit, first_words: str) -> KitSheet:
    """Return what a kit's papers say of it."""
    return KitSheet(
        kit_id=kit.kit_id,
        made=kit.made,
        threshold=kit.threshold,
        custodians=kit.custodians,
        first_words=first_words,
        systems=[(each.system, each.title, each.targets) for each in kit.systems],
        recipient=kit.recipient,
        dr_version=kit.versions.get("dr", ""),
        restic_version=kit.versions.get("restic", ""),
        left_out=kit.left_out,
    )


def pages_of(sheet: KitSheet, parts: Sequence[Share], wanted: KitWanted) -> dict[str, bytes]:
    """Return each share as a text and as a page to print, by name."""
    pages = {}
    for part in parts:
        share = ShareSheet(kit=sheet, number=part.index, words=part.words)
        name = f"share-{part.index}-of-{len(parts)}"
        pages[f"{name}.txt"] = share_text(share).encode()
        pages[f"{name}.pdf"] = share_page(share, wanted.paper)
    return pages

"""The words of a recovery kit: what a person reads on the worst day. Plain text; the PDF says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime

from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class KitSheet:
    """What a kit says of itself; nothing in it is secret. `systems` are (system, title, targets) in recovery order."""

    kit_id: str
    made: datetime
    threshold: int
    custodians: Sequence[str]
    first_words: str
    systems: Sequence[tuple[str, str, Sequence[str]]]
    recipient: str
    dr_version: str
    restic_version: str
    left_out: Sequence[str] = ()

    @property
    def quorum(self) -> str:
        """`2 of 3`."""
        return f"{self.threshold} of {len(self.custodians)}"


@dataclass(frozen=True, kw_only=True)
class ShareSheet:
    """One custodian's page. `number` counts from 1; the words are the secret."""

    kit: KitSheet
    number: int
    words: Sequence[str] = field(repr=False)

    @property
    def role(self) -> str:
        """Who holds it."""
        return self.kit.custodians[self.number - 1]


@dataclass(frozen=True)
class Section:
    """A part of the instructions: a heading, sentences, and numbered steps with what to type at each."""

    title: str
    text: Sequence[str] = ()
    steps: Sequence[tuple[str, Sequence[str]]] = ()


def sections(kit: KitSheet) -> list[Section]:
    """Return the instructions of the whole kit."""
    return [
        _section(
            "What this is",
            f"The recovery kit {kit.kit_id} of {kit.made:%Y-%m-%d}. With it, and with the shares of any "
            f"{kit.threshold} of its {len(kit.custodians)} custodians, the systems below can be recovered on "
            "an empty machine when the backup host and all it knew are gone.\n"
            "The kit by itself opens nothing, and neither do fewer shares than that. Keep copies of the kit "
            "where a fire or a thief would not find it together with the shares: on two USB sticks, one of them "
            "in another building.",
        ),
        Section("The custodians", tuple(f"Share {n}: {role}" for n, role in enumerate(kit.custodians, 1))),
        Section(
            "The systems, in the order of recovery",
            tuple(f"{name}{f' ({title})' if title else ''}: on {', '.join(on)}" for name, title, on in kit.systems),
        ),
        Section("On the worst day", (), _worst_day(kit)),
        Section("How to get restic", (), _restic(kit)),
        Section("Without the program dr", (), _by_hand()),
        Section("What this kit does not hold", tuple(kit.left_out) or ("Nothing is known to be left out.",)),
        _section(
            "Keeping it",
            "Test it, with the custodians, at least once a year, and when systems or targets change: "
            "dr kit test KIT --share FILE --share FILE.\n"
            "When a custodian leaves or a page is lost, replace the whole kit with dr kit replace: it begins a new "
            "secret and makes the escrow keys again.\n"
            "Old shares go on opening what was sealed before, with the passphrases and key pairs of that day. When "
            "shares may be in wrong hands, change those too.",
        ),
    ]


def _section(title: str, text: str) -> Section:
    return Section(title, text.split("\n"))


def _worst_day(kit: KitSheet) -> Sequence[tuple[str, Sequence[str]]]:
    return (
        ("Take a clean machine with Linux, Python 3.11 or newer, and a network that reaches a target.", ()),
        (f"Install dr {kit.dr_version} and restic (see below); dr doctor says what is missing.", ()),
        (
            (
                f"Call {kit.threshold} custodians. Each brings their page, or its text file. From a page, type the 33 "
                "words into a text file, or scan the QR code into one. Delete the files afterwards."
            ),
            (),
        ),
        (
            "Open the kit. It takes the newest copy of plans, catalog and keys from the first target that has it:",
            ("dr kit open KIT --share share-a.txt --share share-b.txt --to /srv/recovery",),
        ),
        (
            "Find what there is to recover:",
            ("dr --config /srv/recovery/config --state /srv/recovery/state points rebuild",),
        ),
        (
            "Recover one system after the other, in the order above:",
            (
                "dr --config /srv/recovery/config --state /srv/recovery/state \\",
                "   recover SYSTEM --to /srv/recovered/SYSTEM",
            ),
        ),
        ("When it is over: make a new kit, since these shares have been seen. Remove /srv/recovery.", ()),
    )


def _restic(kit: KitSheet) -> Sequence[tuple[str, Sequence[str]]]:
    return (
        (f"This kit was made with restic {kit.restic_version}; 0.18.0 or newer is needed.", ()),
        ("Debian 13 or newer, Ubuntu 25.04 or newer:", ("apt-get update && apt-get install restic",)),
        ("Older Debian: with the sources of dr at hand, which verifies Debian's signature:", ("scripts/get-restic",)),
        ("Fedora:", ("dnf install restic",)),
        (
            (
                "Elsewhere: the one static program from https://github.com/restic/restic/releases, checked against the "
                "SHA256SUMS and their signature there."
            ),
            ("bunzip2 restic_*_linux_amd64.bz2 && install -m 755 restic_*_linux_amd64 /usr/local/bin/restic",),
        ),
    )


def _by_hand() -> Sequence[tuple[str, Sequence[str]]]:
    return (
        ("Get the programs: age (Debian has it) and the SLIP-39 library.", ("pip install shamir-mnemonic",)),
        (
            "Put the shares together. This writes the secret identity: keep it in memory only.",
            ("umask 077; python3 combine.py share-a.txt share-b.txt > /dev/shm/identity",),
        ),
        (
            "Open the self-copy: the kit's, or a newer one, _control/*.age, from the root of a target.",
            ("age -d -i /dev/shm/identity sealed/self-copy.age | tail -n +2 | tar xz",),
        ),
        ("Follow by-hand.txt: the restic command lines of each system and target.", ()),
        (
            "If a passphrase in there no longer opens its repository, the escrow passphrase does:",
            ("age -d -i /dev/shm/identity sealed/escrow/SYSTEM@TARGET.age",),
        ),
    )


def readme(kit: KitSheet) -> str:
    """Return README.txt."""
    lines = [f"RECOVERY KIT {kit.kit_id}", f"made {kit.made:%Y-%m-%d %H:%M} UTC, opens with {kit.quorum} shares", ""]
    for section in sections(kit):
        lines += [section.title.upper(), ""]
        for text in section.text:
            lines += _wrapped(text)
        for number, (text, commands) in enumerate(section.steps, 1):
            lines += _wrapped(text, f"{number}. ")
            lines += [f"       {command}" for command in commands]
        lines.append("")
    return "\n".join(lines)


def share_text(share: ShareSheet) -> str:
    """Return a custodian's share as a file that the program reads again."""
    kit = share.kit
    rows = [
        "  ".join(
            f"{number:2} {word:<9}" for number, word in list(enumerate(share.words, 1))[start : start + 4]
        ).rstrip()
        for start in range(0, len(share.words), 4)
    ]
    head = [
        f"Recovery kit {kit.kit_id}, made {kit.made:%Y-%m-%d}",
        f"Share {share.number} of {len(kit.custodians)}; any {kit.threshold} together open the kit",
        f"Held by: {share.role}",
        *RULES,
    ]
    return "\n".join([*(f"# {line}" for line in head), *rows, ""])


#: What every custodian is told, in one line each.
RULES = (
    "Keep this page in a safe. Show it to nobody, photograph it never, and keep it apart from the kit.",
    "Bring it only when called to a recovery, or to a test of the kit, by somebody whom you know.",
    "When it is lost or was seen by another: say so the same day, and the kit is replaced.",
    "When you leave your role: hand it to your successor only through a new kit.",
)


def _wrapped(text: str, first: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(text, 92, initial_indent=f"  {first}", subsequent_indent=" " * (2 + len(first)))


#: A program of its own, in the kit: from shares to the identity, with the SLIP-39 library alone.
COMBINE = '''\
"""Put shares of a recovery kit together: python3 combine.py SHARE… prints the age identity.

Needs: pip install shamir-mnemonic. A share file holds 33 words; lines that begin with # are left out.
"""
import re
import sys

from shamir_mnemonic import combine_mnemonics

CHARSET, NAME = "qpzry9x8gf2tvdw0s3jn54khce6mua7l", "age-secret-key-"


def words(path):
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    return " ".join(re.findall("[a-z]+", " ".join(lines).lower()))


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= part if top >> i & 1 else 0
    return check


secret = int.from_bytes(combine_mnemonics([words(path) for path in sys.argv[1:]]), "big") << 4
values = [secret >> shift & 31 for shift in range(255, -1, -5)]
check = polymod([ord(c) >> 5 for c in NAME] + [0] + [ord(c) & 31 for c in NAME] + values + [0] * 6) ^ 1
values += [check >> 5 * (5 - i) & 31 for i in range(6)]
print((NAME + "1" + "".join(CHARSET[value] for value in values)).upper())
'''

"""A secret split so that M of N people together have it, and fewer have nothing: SLIP-39. Sole user of shamir_mnemonic.

An age identity is 32 bytes in Bech32 (BIP-173, in capitals). Those bytes are split, so that any SLIP-39 tool can put
the shares together again. A share is 33 words; the first two tell the set it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field

from dr.errors import RefusedError, UsageError
from dr.late_dataclass import dataclass

MOST = 16  # SLIP-39 knows no more
_PREFIX = "AGE-SECRET-KEY-"
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_SET_WORDS = 2


@dataclass(frozen=True)
class Share:
    """One share. `set_id` is the same in all shares of one set; `index` counts from 1. The words are never shown."""

    set_id: int
    index: int
    threshold: int
    words: tuple[str, ...] = field(repr=False)

    @property
    def mnemonic(self) -> str:
        """Its words in one line."""
        return " ".join(self.words)


def split(identity: str, *, threshold: int, count: int) -> list[Share]:
    """Return the shares of an age identity, `threshold` of which give it back. Each call makes another set.

    Raises `UsageError` for numbers that make no sense: of several shares, at least two must be needed.
    """
    from shamir_mnemonic import generate_mnemonics

    refuse_numbers(threshold=threshold, count=count)
    (group,) = generate_mnemonics(1, [(threshold, count)], _secret(identity))
    return [parse(text) for text in group]


def refuse_numbers(*, threshold: int, count: int) -> None:
    """Raise `UsageError` for a number of shares that cannot be, or makes no sense."""
    if not 1 <= threshold <= count <= MOST:
        raise UsageError(
            f"{threshold} of {count} shares cannot be", "--threshold", hint=f"1 to {MOST} shares, and as many or fewer"
        )
    if threshold == 1 and count > 1:
        raise UsageError(
            "with a threshold of 1 each custodian alone could open everything",
            "--threshold",
            hint="say at least 2, or name one custodian only",
        )


def parse(text: str, where: str = "the share") -> Share:
    """Return the share written in a text: 33 words, numbered or not; lines that begin with # are left out.

    Raises `RefusedError` that says what is wrong, and never quotes a word.
    """
    from shamir_mnemonic import MnemonicError
    from shamir_mnemonic import Share as Slip39
    from shamir_mnemonic.wordlist import WORDLIST

    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = tuple(re.findall(r"[a-z]+", " ".join(lines).lower()))
    known = set(WORDLIST)
    strange = [str(number) for number, word in enumerate(words, 1) if word not in known]
    if strange or len(words) != 33:
        problem = f"word {', '.join(strange[:5])} is in no list of share words" if strange else "it has not 33 words"
        raise RefusedError(
            f"this is not a share of a recovery kit: {problem}", where, hint="compare it with the custodian's page"
        )
    try:
        found = Slip39.from_mnemonic(" ".join(words))
    except MnemonicError:
        raise RefusedError(
            "a word of this share is wrong, or in the wrong place: its checksum does not hold",
            where,
            hint="compare it word by word with the custodian's page",
        ) from None
    return Share(found.identifier, found.index + 1, found.member_threshold, words)


def combine(shares: Iterable[Share]) -> str:
    """Return the age identity that a set of shares gives; more than are needed do no harm.

    Raises `RefusedError` when there are too few, or they are not of one set.
    """
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    given = {(share.set_id, share.index): share for share in shares}
    if not given:
        raise UsageError("no share was given", hint="name the custodians' share files with --share")
    if len({share.set_id for share in given.values()}) > 1:
        raise RefusedError(
            "the shares are of different kits", hint="bring shares of one kit: their first two words are the same"
        )
    needed = max(share.threshold for share in given.values())
    if len(given) < needed:
        raise RefusedError(
            f"{len(given)} of the {needed} shares needed were given", hint=f"bring {needed - len(given)} more"
        )
    chosen = sorted(given.values(), key=lambda share: share.index)[:needed]
    try:
        return _identity(combine_mnemonics([share.mnemonic for share in chosen]))
    except MnemonicError:
        raise RefusedError(
            "the shares do not fit together", hint="one of them was altered: try other custodians' shares"
        ) from None


def first_words(shares: Sequence[Share]) -> str:
    """Return the words with which every share of the set begins: they tell the set, and nothing else."""
    return " ".join(shares[0].words[:_SET_WORDS])


# -- Bech32, as age writes identities ------------------------------------------------------------------


def _secret(identity: str) -> bytes:
    """Return the 32 bytes of an age identity; `RefusedError` when it is none."""
    text = identity.strip()
    values = [_CHARSET.find(c) for c in text.lower().removeprefix(f"{_PREFIX.lower()}1")]
    if not text.upper().startswith(f"{_PREFIX}1") or -1 in values or _polymod(_expanded() + values) != 1:
        raise RefusedError("this is not an age identity", hint="it begins with AGE-SECRET-KEY-1")
    number = 0
    for value in values[:-6]:
        number = number << 5 | value
    return (number >> (5 * len(values[:-6]) - 256)).to_bytes(32, "big")


def _identity(secret: bytes) -> str:
    """Return the age identity of 32 bytes."""
    number = int.from_bytes(secret, "big") << 4  # 256 bits in 52 groups of five
    values = [number >> shift & 31 for shift in range(255, -1, -5)]
    check = _polymod(_expanded() + values + [0] * 6) ^ 1
    values += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return f"{_PREFIX}1" + "".join(_CHARSET[value] for value in values).upper()


def _expanded() -> list[int]:
    name = _PREFIX.lower()
    return [ord(c) >> 5 for c in name] + [0] + [ord(c) & 31 for c in name]


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            check ^= _GENERATOR[i] if top >> i & 1 else 0
    return check

"""Shares: enough of them give the secret back, fewer or foreign ones never do, and each fault is said."""

from __future__ import annotations

import itertools

import pytest

from dr.errors import RefusedError, UsageError
from dr.tools import age, shares
from tests.printed import IDENTITY, OURS, THEIRS


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 2), (2, 3), (3, 5)])
def test_any_m_of_n_shares_give_the_identity_back(threshold: int, count: int) -> None:
    parts = shares.split(IDENTITY, threshold=threshold, count=count)
    assert [part.index for part in parts] == list(range(1, count + 1))
    for chosen in itertools.permutations(parts, threshold):
        assert shares.combine(chosen) == IDENTITY
    assert shares.combine(parts) == IDENTITY, "more than are needed do no harm"
    assert len({" ".join(part.words[:2]) for part in parts}) == 1


def test_fewer_shares_than_needed_are_refused_and_give_nothing() -> None:
    parts = shares.split(IDENTITY, threshold=3, count=5)
    with pytest.raises(UsageError):
        shares.combine([])
    for count in (1, 2):
        with pytest.raises(RefusedError):
            shares.combine(parts[:count])
    with pytest.raises(RefusedError, match="1 of the 3 shares needed"):
        shares.combine([parts[0], parts[0], parts[0]])


def test_what_was_printed_long_ago_is_read() -> None:
    for printed in (OURS, THEIRS):
        parts = [shares.parse(text) for text in printed]
        assert [(part.index, part.threshold, part.mnemonic) for part in parts] == [
            (number, 2, text) for number, text in enumerate(printed, 1)
        ]
        for chosen in itertools.permutations(parts, 2):
            assert shares.combine(chosen) == IDENTITY


def test_shares_of_two_sets_of_one_secret_do_not_mix() -> None:
    ours, theirs = ([shares.parse(text) for text in printed] for printed in (OURS, THEIRS))
    with pytest.raises(RefusedError, match="different kits"):
        shares.combine([ours[0], theirs[1]])


def test_every_identity_survives_its_bytes() -> None:
    for _ in range(50):
        secret, recipient = age.new_identity()
        parts = shares.split(secret, threshold=2, count=2)
        assert age.recipient_of(shares.combine(parts)) == recipient


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(lambda words: words[:-1], "33 words", id="one missing"),
        pytest.param(lambda words: [*words, words[0]], "33 words", id="one more"),
        pytest.param(lambda words: [*words[:6], "hovercraft", *words[7:]], "word 7 is in no list", id="no such word"),
        pytest.param(lambda words: [*words[:4], words[5], words[4], *words[6:]], "checksum", id="two swapped"),
        pytest.param(lambda words: [*words[:9], "academic", *words[10:]], "checksum", id="one wrong"),
        pytest.param(lambda words: [], "33 words", id="empty"),
    ],
)
def test_what_is_no_share_is_refused_and_no_word_of_it_is_said(change: object, problem: str) -> None:
    part = shares.parse(OURS[0])
    with pytest.raises(RefusedError, match=problem) as refused:
        shares.parse(" ".join(change(list(part.words))))  # type: ignore[operator]
    told = f"{refused.value} {refused.value.hint}".split()
    assert "hovercraft" not in told
    assert not [word for word in part.words[4:] if f" {word} " in f" {refused.value} "]


def test_a_share_is_read_as_people_write_it() -> None:
    part = shares.parse(OURS[1])
    numbered = "\n".join(f"{number}. {word.upper()}" for number, word in enumerate(part.words, 1))
    for text in (part.mnemonic, f"# a remark of words\n{part.mnemonic}\n", numbered, "\r\n".join(part.words)):
        assert shares.parse(text) == part
    assert part.words[5] not in repr(part)


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (2, 17), (1, 3)])
def test_numbers_that_make_no_sense_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(UsageError):
        shares.split(IDENTITY, threshold=threshold, count=count)


@pytest.mark.parametrize("text", ["", "age1abc", "AGE-SECRET-KEY-1QQQQ", "AGE-SECRET-KEY-1" + "Q" * 58])
def test_what_is_no_identity_is_not_split(text: str) -> None:
    with pytest.raises(RefusedError):
        shares.split(text, threshold=2, count=3)

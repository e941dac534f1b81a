"""Sealing with age."""

from __future__ import annotations

import pytest

from dr.errors import DrError, RefusedError
from dr.tools import age


def test_what_is_sealed_opens_with_its_identity_alone() -> None:
    (secret, recipient), (other, _) = age.new_identity(), age.new_identity()
    sealed = age.seal(b"a passphrase\n", [recipient])
    assert sealed.startswith(b"age-encryption.org/v1") and b"passphrase" not in sealed
    assert age.unseal(sealed, secret + "\n") == b"a passphrase\n"
    assert age.recipient_of(secret) == recipient
    with pytest.raises(RefusedError, match="another"):
        age.unseal(sealed, other)


def test_each_of_several_recipients_opens() -> None:
    pairs = [age.new_identity() for _ in range(3)]
    sealed = age.seal(b"x", [recipient for _, recipient in pairs])
    assert [age.unseal(sealed, secret) for secret, _ in pairs] == [b"x"] * 3


def test_any_flipped_byte_is_noticed() -> None:
    secret, recipient = age.new_identity()
    sealed = age.seal(b"a passphrase\n", [recipient])
    for place in range(len(sealed)):
        with pytest.raises(RefusedError):
            age.unseal(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], secret)


@pytest.mark.parametrize("text", ["", "AGE-SECRET-KEY-1NONSENSE", "age1" + "q" * 58])
def test_what_is_no_identity_is_refused_in_words_that_do_not_quote_it(text: str) -> None:
    sealed = age.seal(b"x", [age.new_identity()[1]])
    for act in (lambda: age.unseal(sealed, text), lambda: age.recipient_of(text)):
        with pytest.raises(RefusedError, match="not an age identity") as caught:
            act()
        assert "NONSENSE" not in str(caught.value)


def test_a_faulty_recipient_seals_nothing() -> None:
    with pytest.raises(DrError, match="recipient"):
        age.seal(b"x", ["age1nonsense"])

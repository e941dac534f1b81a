"""The files that a person named: what is read of a point to find them is all that they can be, and little more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dr.run.recovery.selected import include_of, outermost, pattern_of, tops_of

NAMES = st.sampled_from([b"a", b"b", b"ab", b"a b", b"\xff", "é".encode(), b"[", b"*"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
PARTS = st.sampled_from(["a", "b", "*", "**", "a?", "[ab]", "é", ".", "?"])
PATTERNS = st.builds(
    lambda start, parts: start + "/".join(parts), st.sampled_from(["", "/"]), st.lists(PARTS, max_size=4)
)
BASES = st.lists(st.sampled_from(["/", "/a", "/a/b", "/a b/", "/b"]), min_size=1, max_size=3)


@given(bases=BASES, patterns=st.lists(PATTERNS, min_size=1, max_size=3), path=PATHS)
def test_all_that_a_pattern_can_match_lies_at_or_below_what_is_read(
    bases: list[str], patterns: list[str], path: bytes
) -> None:
    tops = outermost(top for pattern in patterns for top in tops_of(bases, pattern))
    assert not any(one != two and (one + b"/").startswith(two.rstrip(b"/") + b"/") for one in tops for two in tops)
    if pattern_of(bases, patterns).fullmatch(path):
        assert any((b"/" + path + b"/").startswith(top.rstrip(b"/") + b"/") for top in tops), tops


def test_one_file_reads_one_name() -> None:
    assert list(tops_of(["/srv/share"], "deep/letter.txt")) == [b"/srv/share/deep/letter.txt"]
    assert list(tops_of(["/srv/share"], "/srv/share/deep/*.txt")) == [b"/srv/share/deep"]


def test_a_question_mark_is_one_letter_and_not_one_byte() -> None:
    pattern = pattern_of(["/"], ["caf?.txt"])
    assert pattern.fullmatch("café.txt".encode()) and pattern.fullmatch(b"caf\xe9.txt")
    assert not pattern.fullmatch(b"caf/.txt") and not pattern.fullmatch(b"cafee.txt")


def test_a_name_with_brackets_is_meant_as_it_is_spelled_too() -> None:
    pattern, asked = pattern_of(["/srv"], ["[odd] name.txt"]), include_of(["/srv"], ["[odd] name.txt"], alone=set())
    assert pattern.fullmatch(b"srv/[odd] name.txt") and pattern.fullmatch(b"srv/o name.txt")
    assert not pattern.fullmatch(b"srv/odd name.txt") and asked == ["/srv/[odd] name.txt", "/srv/[\\[]odd] name.txt"]

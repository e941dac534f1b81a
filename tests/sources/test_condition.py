"""A condition that no server can take is refused before any is asked; one that some server takes is left to it."""

from __future__ import annotations

import pytest

from dr.errors import UsageError
from dr.sources.condition import refuse_unfinished, stays_in_table

TAKEN = {
    "": ("it''s", "id > (1", "name = 'a"),
    "postgres": ("name = 'it''s (' -- a )", "a = E'\\' (' and (b)", "x ~ $q$ ' ( $q$", 'a."b ( c" = 1', "/* ( */ (1"),
    "mysql": ("name = 'it\\'s ('", "id > (5--3)", '`a (` = "x\'("', "id > 1 # (", "id > 1 -- ("),
    "sqlite": ("[a ( b] = '\\'", "id in (1, 2) /* ( */", "name like '%;%'"),
}
REFUSED = (
    ("  ", "it is empty"), ("WHERE id = 1", "the word WHERE"), ("name = 'a", "a quote"), ("id in (1, 2", "not closed"),
    ("id = 1; select 1", "a ;"), ("1) or (1", "closed that was not opened"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "condition"), [(kind, each) for kind, many in TAKEN.items() for each in many])
def test_what_a_server_may_take_is_left_to_it(kind: str, condition: str) -> None:
    refuse_unfinished(condition, kind)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
@pytest.mark.parametrize(("condition", "said"), REFUSED)
def test_what_no_server_takes_is_refused(kind: str, condition: str, said: str) -> None:
    with pytest.raises(UsageError, match="--where: the condition cannot be used") as refused:
        refuse_unfinished(condition, kind)
    assert said in refused.value.cause and refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("condition", "alone"),
    [
        ("", True), ("id in (1, 2) and lower(name) = 'x.y (select'", True), ("mark > 1.5 and name like '%'", True),
        ("class in (select id from classes)", False), ("is_active(id)", False), ("students.is_active", False),
        ('"is active"(id)', False), ("exists (table classes)", False), ("a = $$x$$", False), ("a -- (", False),
    ],
)  # fmt: skip
def test_a_condition_that_may_read_other_tables_is_known(condition: str, alone: bool) -> None:
    assert stays_in_table(condition) is alone

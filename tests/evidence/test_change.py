"""What is out of the ordinary, by numbers alone: attacks are seen, months of ordinary change are not."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dr.evidence.change import Change, Past, suspicion, usual
from dr.plan.units import format_bytes
from tests.evidence.ordinary import FIRST, Share, days, systems

NOW = FIRST + timedelta(days=100)


def past_of(name: str, *, seed: int = 7, count: int = 100) -> list[Past]:
    system = systems(seed)[name]
    return [Past(at, system.day(number, at)) for number, at in days(count)]


PAST = past_of("a small share")
DUMPS = past_of("a dump")
FILES = PAST[-1].change.files


def encrypted(count: int, *, beside: int = 0) -> Change:
    """So many files encrypted in place, and `beside` changed as people change them."""
    changed = count + beside
    sampled = min(150, changed)
    strange = sampled * count // changed if changed else 0
    return Change(files=FILES, before=FILES, changed=changed, sampled=sampled, strange=strange, encrypted=strange)


def judged(change: Change, past: list[Past] = PAST) -> str | None:
    return suspicion(change, past, at=NOW, size=format_bytes)


# -- what is seen --------------------------------------------------------------------------------------


def test_mass_encryption_is_told_in_numbers_and_with_what_is_usual() -> None:
    past = [
        Past(FIRST + timedelta(days=n), Change(files=900, before=900, changed=3 + n % 38, sampled=9)) for n in range(76)
    ]
    attack = Change(files=900, before=900, changed=812, sampled=150, strange=146, encrypted=146)
    assert judged(attack, past) == "812 of 900 files changed, usually 7 to 37; 97 % of those sampled look encrypted"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(encrypted(FILES // 2), "100 % of those sampled look encrypted", id="half"),
        pytest.param(encrypted(FILES // 20), "100 % of those sampled look encrypted", id="a twentieth"),
        pytest.param(
            replace(encrypted(FILES), strange=0, encrypted=0), f"{FILES} of {FILES} files changed", id="random by nature"
        ),
        pytest.param(Change(files=100, before=FILES, removed=FILES - 100), "files are gone", id="mass deletion"),
        pytest.param(
            replace(encrypted(300), renamed=300, extension=".locked", strange=0, encrypted=0),
            "300 files have other content and a new name that ends in .locked", id="renamed, not sampled",
        ),
        pytest.param(
            Change(files=FILES, before=FILES, removed=200, added=200, sampled_new=50, strange_new=50, encrypted=50),
            "look encrypted", id="under names of their own",
        ),
        pytest.param(
            replace(encrypted(12), notes=12), "the same new text lies in 12 directories", id="a note, and some encrypted"
        ),
        pytest.param(
            Change(files=FILES, before=FILES, notes=10, threatening=True), "it speaks of ransom", id="a note that threatens"
        ),
    ],
)  # fmt: skip
def test_an_attack_on_files_is_seen(change: Change, words: str) -> None:
    assert words in (judged(change) or "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"packed": 0.57}, "samples of it keep 57 % of the size", id="rows encrypted as hex"),
        pytest.param({"packed": 0.99}, "samples of it keep 99 % of the size", id="encrypted"),
        pytest.param({"head": "encrypted"}, "no longer begins like text", id="another beginning"),
        pytest.param({"size": 9_000_000}, "it holds 9.0 MB, where it held ", id="shrunken"),
        pytest.param(
            {"emptied_rows": 50_000, "rows": 60_000, "rows_before": 110_000}, "50000 rows are empty", id="an emptied table"
        ),
    ],
)  # fmt: skip
def test_an_attack_on_a_dump_is_seen(changes: dict[str, float], words: str) -> None:
    ordinary = replace(DUMPS[-1].change, emptied_rows=0)
    assert judged(ordinary, DUMPS) is None
    assert words in (judged(replace(ordinary, **changes), DUMPS) or "")  # type: ignore[arg-type]


def test_what_its_own_host_stored_is_judged_by_counts_and_by_compression() -> None:
    ordinary = Change(
        files=900, before=900, changed=40, unsampled="away", processed=10**9, raw_added=10**8, packed_added=4 * 10**7
    )
    past = [Past(item.at, ordinary) for item in PAST]
    assert judged(ordinary, past) is None
    assert "keeps 99 % of the size" in (judged(replace(ordinary, packed_added=99 * 10**6), past) or "")


def test_slow_encryption_is_seen_when_it_adds_up() -> None:
    """Twelve files a day are below every daily floor."""
    past = past_of("a small share", seed=3, count=60)
    for day in range(60, 70):
        at = FIRST + timedelta(days=day)
        found = suspicion(encrypted(12), past, at=at, size=format_bytes)
        if found:
            break
        past.append(Past(at, encrypted(12)))
    assert found and "within 14 days look encrypted" in found
    assert day < 65, "48 files at most"


# -- what is not ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.no_cover  # counting its lines costs four times the test; the other tests here pass through them too
def test_months_of_ordinary_change_raise_no_alarm() -> None:
    """Terms, photo day, rollover, month ends, migration, clean-ups: 8 times 7 systems of 190 days."""
    alarms = []
    for seed in range(8):
        for name, system in systems(1000 + seed).items():
            past: list[Past] = []
            for number, at in days(190):
                change = system.day(number, at)
                if found := suspicion(change, past[-120:], at=at, size=format_bytes):
                    alarms.append((seed, name, number, found))
                past.append(Past(at, change))
    assert alarms == []


def test_new_files_alone_are_never_suspect() -> None:
    every = Change(files=9_000, before=900, added=8_100, sampled_new=50, strange_new=50, encrypted=50)
    assert judged(every) is None
    assert judged(every, []) is None


def test_a_tiny_system_does_not_cry() -> None:
    past = past_of("a few files", count=60)
    for item in past:
        object.__setattr__(item, "change", replace(item.change, before=12, files=12, added=0))
    every = Change(files=12, before=12, changed=12, sampled=12, strange=12, encrypted=12)
    assert suspicion(every, past, at=FIRST + timedelta(days=61), size=format_bytes) is None


def test_nothing_is_judged_by_a_history_that_is_too_short() -> None:
    """Eight runs over six days; what no ordinary day does is seen at once."""
    third = encrypted(FILES // 3)
    week = [Past(NOW - timedelta(days=n), PAST[-1].change) for n in range(1, 8)]
    hours = [Past(NOW - timedelta(hours=n), PAST[-1].change) for n in range(1, 40)]
    assert judged(third, week) is None
    assert judged(third, hours) is None
    assert judged(third, [*week, *hours]) is not None
    assert judged(encrypted(FILES), []) is not None
    assert judged(Change(files=5, before=FILES, removed=FILES - 5), []) is not None
    assert judged(Change(files=FILES), []) is None, "there was nothing to compare with"


def test_content_tells_nothing_where_files_always_looked_encrypted() -> None:
    past = past_of("encrypted by its program")
    before = past[-1].change.files
    some_of_them = Change(files=before, before=before, changed=300, sampled=150, strange=150, encrypted=150)
    assert judged(some_of_them, past) is None
    assert judged(replace(some_of_them, changed=before), past) is not None, "counts tell still"


def test_a_burst_that_was_ordinary_once_is_ordinary_again() -> None:
    burst = Change(files=900, before=900, changed=800, sampled=150)
    past = [*PAST, Past(NOW - timedelta(days=3), burst)]
    assert judged(burst, past) is None
    assert judged(burst) is not None


def test_trust_is_no_blind_eye() -> None:
    """Trusted once, an encryption or a change of nearly all is seen again; three times, it is a habit."""
    for extreme in (encrypted(FILES), Change(files=0, before=FILES, removed=FILES)):
        once = [Past(NOW - timedelta(days=3), extreme, trusted=True)]
        assert judged(extreme, [*PAST, *once]) is not None
        often = [Past(NOW - timedelta(days=3 * n), extreme, trusted=True) for n in (1, 2, 3)]
        assert judged(extreme, [*PAST, *often]) is None
    calm = encrypted(1, beside=10)
    assert judged(calm, [*PAST, Past(NOW - timedelta(days=3), encrypted(FILES), trusted=True)]) is None


def test_what_bears_a_later_time_does_not_count() -> None:
    assert judged(encrypted(FILES // 3), [Past(NOW + (NOW - item.at), item.change) for item in PAST]) is None


def test_what_is_usual_is_not_bent_by_a_few_bursts() -> None:
    calm = [float(10 + n % 5) for n in range(100)]
    assert usual([*calm[:95], *[14.0] * 5]).high == usual([*calm[:95], *[5000.0] * 5]).high
    assert str(usual([4.0] * 9)) == "usually 4"


# -- the law -------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(some.integers(0, 900), some.integers(0, 900), some.integers(0, 400))
def test_more_encrypted_files_never_make_it_less_suspect(count: int, more: int, beside: int) -> None:
    if judged(encrypted(count, beside=beside)):
        assert judged(encrypted(count + more, beside=beside))


@settings(max_examples=100)
@given(some.integers(0, 900), some.integers(0, 900))
def test_more_removed_files_never_make_it_less_suspect(count: int, more: int) -> None:
    def removal(number: int) -> Change:
        return Change(files=max(0, FILES - number), before=FILES, removed=min(FILES, number))

    if judged(removal(count)):
        assert judged(removal(count + more))


def test_the_simulation_can_cry() -> None:
    """Its negative control: the same months, with an attack on one day."""
    system = Share(random.Random(5), files=900, busy=12)
    past, alarms = [], []
    for number, at in days(120):
        change = system.day(number, at)
        if number == 100:
            change = replace(change, changed=700, sampled=150, strange=150, encrypted=150)
        if suspicion(change, past, at=at, size=format_bytes):
            alarms.append(number)
        past.append(Past(at, change))
    assert alarms == [100]

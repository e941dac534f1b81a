"""Generated databases, each captured, drilled, recovered onto a bare server and in place, and compared by their dumps.

CI takes a dozen; `make campaign` takes all fifty, and `CAMPAIGN=3,7 pytest tests/campaign` those of these numbers.
What the program cannot do yet is left out of the dozen by its trait, with the reason.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests import made_once
from tests.campaign import mysql_seeded, postgres_seeded
from tests.campaign.fuse import Fuse
from tests.campaign.seeded import Seeded
from tests.campaign.trip import Kind, MariadbKind, PostgresKind, Trip, different, is_named, without
from tests.conftest import Site

ALL = range(25)
#: The numbers in CI's dozen: between them they have every trait.
DOZEN = {"mysql": (1, 7, 9, 12, 18, 20), "postgres": (9, 10, 11, 18, 19, 21)}
#: Traits that CI's dozen does without, and why; `make campaign` has them.
NOT_YET: dict[str, dict[str, str]] = {"mysql": {}, "postgres": {}}
_MAKERS = {"mysql": mysql_seeded.make, "postgres": postgres_seeded.make}
#: Lines of the swap and what comes before and after it, as shares of all that a recovery says to the server.
CUTS: tuple[tuple[float, Literal["refused", "killed"]], ...] = (
    (0.35, "killed"), (0.70, "refused"), (0.85, "refused"), (0.85, "killed"), (0.95, "refused"), (0.98, "killed"),
)  # fmt: skip


def make(kind: str, number: int) -> Seeded:
    """Return the database of a kind and a number; in CI without what cannot be done yet."""
    return _MAKERS[kind](number, without=frozenset() if "CAMPAIGN" in os.environ else frozenset(NOT_YET[kind]))


def batches() -> list[tuple[str, tuple[int, ...]]]:
    """Return which databases go together, by kind."""
    asked = os.environ.get("CAMPAIGN", "")
    size = int(os.environ.get("CAMPAIGN_BATCH", "5" if asked == "all" else "3"))
    found = []
    for kind in _MAKERS:
        wanted = DOZEN[kind] if not asked else ALL if asked == "all" else [int(each) for each in asked.split(",")]
        found += [(kind, tuple(wanted[at : at + size])) for at in range(0, len(wanted), size)]
    return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Kind, Kind]]]:
    """A live server of each kind, and a bare one; begun when they are first asked for."""
    with _Servers(tmp_path_factory.mktemp("campaign")) as made:
        yield made.of


class _Servers:
    def __init__(self, home: Path) -> None:
        self._home, self._running = home, dict[str, list[MariadbServer | PostgresServer]]()

    def of(self, kind: str) -> tuple[Kind, Kind]:
        """Return the live and the bare server of a kind."""
        if kind not in self._running:
            self._running[kind] = []
            for _ in range(2):
                server = (
                    MariadbServer(self._home) if kind == "mysql" else PostgresServer(settings=("wal_level=logical",))
                )
                self._running[kind].append(server.__enter__())
        live, bare = (
            MariadbKind(each, programs=made_once.mariadb_programs())
            if isinstance(each, MariadbServer)
            else PostgresKind(each, programs=made_once.postgres_programs())
            for each in self._running[kind]
        )
        return live, bare

    def __enter__(self) -> _Servers:
        return self

    def __exit__(self, *about: object) -> None:
        for each in (server for pair in self._running.values() for server in pair):
            each.__exit__(None, None, None)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "numbers"), batches(), ids=lambda value: str(value).replace(" ", ""))
def test_what_comes_back_is_what_was_there_or_each_difference_is_named(
    site: Site, servers: Callable[[str], tuple[Kind, Kind]], kind: str, numbers: tuple[int, ...]
) -> None:
    live, bare = servers(kind)
    found = Trip(site, live, bare, [make(kind, number) for number in numbers]).go()
    assert not found, "\n".join(map(str, found))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", list(_MAKERS))
def test_a_recovery_that_was_ended_at_any_statement_leaves_the_live_databases_whole(
    site: Site, servers: Callable[[str], tuple[Kind, Kind]], kind: str, tmp_path: Path
) -> None:
    live, bare = servers(kind)
    assert live.programs
    fuse = Fuse(tmp_path / "programs", live.programs / ("mariadb" if kind == "mysql" else "psql"))
    live.programs = fuse.place
    numbers = DOZEN[kind][-2:]
    made = [make(kind, number).called(f"cut_{secrets.token_hex(3)}") for number in numbers]
    trip = Trip(site, live, bare, made)
    source = trip.make()
    site.dr("backup", "camp", code=None)
    draw = random.Random(f"{kind}/{numbers}")
    lines = trip.recovered(fuse)
    blown = 0
    for share, how in CUTS:
        trip.spoil()
        before = trip.dumps()
        fuse.set(round(lines * (share + draw.uniform(-0.04, 0.02))), how)
        trip.recover(code=None)
        blown += fuse.blown
        if how == "killed":
            trip.go_back()
        trip.holds(before, or_else=source, how=f"{how} at line {fuse.passed} of {lines}")
    assert blown >= len(CUTS) - 2, "it was ended, nearly each time, before it was through"


def test_a_difference_counts_unless_the_program_named_its_object() -> None:
    """The negative control of the comparison."""
    one, other = "CREATE VIEW `a1_view` AS\nINSERT INTO `b2_tab` VALUES (1);", "INSERT INTO `b2_tab` VALUES (2);"
    lines = different(one, other)
    assert len(lines) == 3
    assert [line[0] for line in lines if not is_named(line, "the view camp_01.a1_view was refused")] == ["-", "+"]
    assert different(one, one) == []
    lacking = "CREATE VIEW `a1_view` AS\nSELECT 1;\nCREATE VIEW `c3_view` AS\nSELECT 2;"
    assert without(lacking, {"a1_view"}) == "CREATE VIEW `c3_view` AS\nSELECT 2;" and without(lacking, ()) == lacking

"""What the tests of databases share: captures, short paths, and a server of everything that a dump could lose."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.plan.source_kinds import PostgresSource
from dr.sources.mysql import capture
from dr.sources.postgres.driver import Postgres
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.sources.postgres_points import Capture, Point
from tests.sources.rich import NAME, quoted, rich_server


@contextmanager
def capturing(place: Path) -> Iterator[Capture]:
    """Captures databases of a server into a place."""
    made: list[Point] = []

    def capture(of: PostgresServer, **declared: object) -> Point:
        whole = PostgresSource.model_validate({"host": str(of.socket), "user": "postgres", **declared})
        kept = place / f"kept-{len(made)}"
        kept.mkdir()
        stream = Postgres("db", whole, host=ThisHost()).capture(kept, None)
        made.append(Point(stream.filename, b"".join(stream.chunks()), kept, whole))
        stream.close()
        return made[-1]

    yield capture
    for point in made:
        for annex in point.annexes:
            shutil.rmtree(annex)


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[Capture]:
    """Captures databases of a server."""
    with capturing(tmp_path) as capture:
        yield capture


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may go into. (Opening pytest's own would open, and close, those of other workers.)"""
    with tempfile.TemporaryDirectory(prefix="dr-o-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly a dump begins on a busy machine, it begins under the lock."""
    monkeypatch.setattr(capture, "_LOCK_KEPT", 120.0)


@pytest.fixture(scope="session")
def rich_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """A server with a rich database, and a second whose views look into it."""
    with rich_server(tmp_path_factory.mktemp("mariadb")) as running:
        running.sql(
            "CREATE DATABASE second; USE second; CREATE TABLE s (id INT PRIMARY KEY, at DATETIME);"
            "INSERT INTO s VALUES (1, '2026-03-04 05:06:07'), (2, '2026-01-01');"
            f"CREATE VIEW across AS SELECT COUNT(*) AS n FROM {quoted(NAME)}.b_view"
        )
        yield running


@pytest.fixture
def annexes() -> Iterator[Callable[[str], Path]]:
    """Makes directories with short paths, and removes them."""
    with tempfile.TemporaryDirectory(prefix="dr-a-", ignore_cleanup_errors=True) as top:
        Path(top).chmod(0o755)
        yield lambda kind: Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=top))

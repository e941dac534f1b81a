"""What is written down of another host is obeyed only as far as it is ours; what lies there is judged as it is here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dr.errors import DrError, SourceError
from dr.evidence import manifest
from dr.plan.host import SshHost
from dr.plan.source import Source
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.compare import Terms, compare
from dr.run.recovery.place.remote_dirs import RECORD, FarPlaces
from dr.run.recovery.place.restore_host import RemoteHost, packed
from dr.run.recovery.place.tree import TreeThere
from dr.sources.driver import RestoreSlot
from dr.sources.files import Files
from dr.sources.kinds import open_source
from dr.tools import retry
from dr.tools.ssh import SshHost as Remote
from tests.far import Far, login, reached
from tests.proxy import Proxy
from tests.waiting import LIMIT


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with Far(tmp_path / "far") as server:
        yield server


@pytest.fixture
def host(far: Far) -> Iterator[Remote]:
    with reached(far) as host:
        yield host


def declared(far: Far) -> SshHost:
    return SshHost(ssh=far.address, known_hosts=far.known_hosts, key=far.key)


def test_a_place_is_written_down_before_it_is_made_and_goes_with_all_that_works_in_it(far: Far, tmp_path: Path) -> None:
    places = FarPlaces(tmp_path)
    places.begin(declared(far))
    made = [places.make(str(tmp_path), "drill"), places.make(str(tmp_path), "postgres")]
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in made)
    (made[0] / "closed").mkdir(mode=0o500)
    with subprocess.Popen(["sleep", "60"], cwd=made[1], start_new_session=True) as running:
        with pytest.raises(DrError, match="cannot be made"):
            places.make(str(tmp_path / "nowhere"), "drill")
        assert "nowhere" in (tmp_path / RECORD).read_text(), "before, not after"
        places.clear()
        assert running.wait(timeout=LIMIT) == -9
    assert not any(path.exists() for path in made)
    places.clear()


@pytest.mark.parametrize(
    "line", ["/srv/data", "/tmp/../srv/dr-drill-0123456789abcdef", "dr-drill-0123456789abcdef", "/tmp/dr-drill-01"]
)
def test_a_path_that_is_not_ours_is_never_removed(far: Far, tmp_path: Path, line: str) -> None:
    places = FarPlaces(tmp_path)
    places.begin(declared(far))
    with (tmp_path / RECORD).open("a") as file:
        file.write(f"{line}\n")
    assert places._read()[1] == []


def test_a_record_that_is_none_is_no_record(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"ssh": ""}\n/tmp/dr-drill-0123456789abcdef\n')
    assert FarPlaces(tmp_path).declared() is None
    FarPlaces(tmp_path).clear()


def test_a_tree_there_is_judged_as_one_here(host: Remote, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for number in range(50):
        (tree / "sub" / f"{number} ü").write_text(f"content {number}")
    (tree / os.fsdecode(b"odd\xff\n")).write_text("odd")
    (tree / "link").symlink_to("sub")
    captured = Files("docs", FilesSource(paths=(str(tree),))).capture(tmp_path, None)
    listed, back = captured.cwd / captured.manifest_name, tmp_path / "back"
    (back / str(tmp_path).lstrip("/")).mkdir(parents=True)
    there = back / str(tree).lstrip("/")
    subprocess.run(["cp", "-a", tree, there], check=True)

    def both(**terms: float) -> str:
        asked = Terms(rights=os.geteuid() == 0, **terms)  # type: ignore[arg-type]
        far, here = compare(TreeThere(host, back, aside=tmp_path), listed, asked), compare(back, listed, asked)
        assert sorted(far.names) == sorted(here.names) and vars(far) | {"names": 0} == vars(here) | {"names": 0}
        return f"{far.equal} {far.present} {far.differ} {far.missing} {far.rights} {far.extra}"

    assert both() == "52 0 0 0 0 0"
    assert both(sample=0.5) == "27 25 0 0 0 0" or both(sample=0.5).split()[1] == "26"
    (there / "sub" / "1 ü").write_text("content X")
    (there / "sub" / "2 ü").unlink()
    (there / "sub" / "more").touch()
    (there / "link").unlink()
    (there / "link").symlink_to("elsewhere")
    assert both() == "49 0 2 1 0 1", "the negative control"
    assert manifest.header(listed)["source"] == "docs"


def test_a_database_there_answers_as_one_here(host: Remote, far: Far, tmp_path: Path) -> None:
    subprocess.run(
        [
            "sqlite3",
            tmp_path / "a.db",
            "create table t as select 42 as n, 1.5 as r, null as z, 'it''s' || char(10) as s",
        ],
        check=True,
    )
    source = Source.model_validate({"sqlite": {"path": "/srv/a.db"}})
    rooms = [
        RestoreSlot(root=tmp_path, apart=tmp_path, annex=lambda kind: tmp_path, token="t", **more)
        for more in ({}, {"host": host})
    ]
    here, there = (open_source("a", source).restored(room) for room in rooms)
    for each in (here, there):
        each.start()
    for query in (
        "select n, r from t",
        "select r from t;",
        "select z from t",
        "select s from t -- a remark",
        "select 1 where 0",
    ):
        assert there.probe(query) == here.probe(query), query
    for query in ("delete from t", "select nothing from t", ".shell touch harm", "select 1; select 2"):
        with pytest.raises(SourceError):
            there.probe(query)
    assert there.probe("select count(*) from t") == 1 and not list(tmp_path.rglob("harm"))
    (tmp_path / "a.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SourceError, match=r"checking the database: sqlite3 on .* says .*not a database"):
        there.start()
    (tmp_path / "a.db").unlink()
    with pytest.raises(SourceError, match="not there"):
        there.start()


def test_a_host_without_sqlite3_is_told_what_it_lacks(tmp_path: Path) -> None:
    server = Far(tmp_path / "bare")
    server.env["PATH"] = server.env["PATH"].replace(":/usr/local/bin:/usr/bin:/bin", "")
    for name in ("sh", "dd", "setsid"):
        (server.bin / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / "a.db").touch()
    with server, reached(server) as host:
        room = RestoreSlot(root=tmp_path, apart=tmp_path, annex=lambda kind: tmp_path, token="t", host=host)
        instance = open_source("a", Source.model_validate({"sqlite": {"path": "/srv/a.db"}})).restored(room)
        with pytest.raises(SourceError, match=r"'sqlite3' is not on .*@127") as raised:
            instance.start()
    assert "sqlite3" in raised.value.hint


def test_what_is_laid_down_on_another_host_is_laid_again_where_the_line_broke(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "file").write_bytes(os.urandom(3_000_000))
    with Proxy(far.port) as proxy:
        known = tmp_path / "known"
        known.write_text(far.known_hosts.read_text().replace(str(far.port), str(proxy.port)))
        with closing(Remote(login(far, port=proxy.port, known_hosts=known))) as host:
            there = RemoteHost(host, machine="", owners=True, free=0, kept=tmp_path, root=tmp_path)
            turns = iter((True, False))

            @contextmanager
            def opened() -> Iterator[Iterator[bytes]]:
                breaks = next(turns)
                with packed(str(tmp_path / "from")) as chunks:
                    yield (
                        chunk for number, chunk in enumerate(chunks) if not (breaks and number == 1 and proxy.drop())
                    )

            there._unpack(opened, tmp_path / "to")
        assert next(turns, None) is None and "trying again (1 of 3)" in caplog.text
    assert (tmp_path / "to" / "file").read_bytes() == (tmp_path / "from" / "file").read_bytes()

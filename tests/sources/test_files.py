"""Trees: the manifest lists exactly what restic stores, whatever the tree looks like."""

from __future__ import annotations

import os
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source_kinds import FilesSource
from dr.sources.driver import RestoreSlot, Tree
from dr.sources.files import Files, _entries, _Tally
from dr.sources.hashing import _hash, hashed
from dr.sources.last_hashes import LastHashes, Unchanged
from dr.sources.settle import settle
from dr.tools.digest import sha256_file
from dr.tools.restic import Repository
from tests.manifests import write_sorted
from tests.sources.nobody import as_nobody


def repository(place: Path, program: str) -> Repository:
    made = Repository(
        program=program, location=str(place / "repo"), where="test", host="sis", env={"RESTIC_PASSWORD": "x"},
        cache=place / "cache",
    )  # fmt: skip
    made.init()
    return made


@pytest.fixture(scope="module")
def repo(restic_program: str, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """One repository for all: making one is slow on purpose."""
    return repository(tmp_path_factory.mktemp("repository"), restic_program)


def capture(tmp_path: Path, paths: list[Path], reuse: Path | None = None, **more: object) -> Tree:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    declared = FilesSource.model_validate({"paths": [str(p) for p in paths], **more})
    return Files("docs", declared).capture(work, reuse)


def hostile(root: Path) -> Path:
    tree = root / "tree"
    tree.mkdir(parents=True)
    for name in (
        b"a space",
        b"a\nnewline",
        b"not-\xff\xfe-utf8",
        b"quote'\"",
        b"-dash",
        "ünï".encode(),
        b"*star[1]",
        b"x" * 255,
        b"\\back",
    ):
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(name)
    (tree / "empty").touch()
    with (tree / "sparse").open("wb") as file:
        file.truncate(20_000_000)
    os.link(tree / "a space", tree / "hard")
    (tree / "loop").symlink_to(tree)
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "s", stat.S_IFSOCK | 0o600)
    deep = tree
    for _ in range(12):
        deep = deep / ("d" * 60)
        deep.mkdir()
    (deep / "bottom").write_text("deep")
    (tree / "locked").write_text("x")
    (tree / "locked").chmod(0)
    return tree


def stored(repo: Repository, snapshot: str) -> dict[str, str]:
    kinds = {"file": "file", "dir": "dir", "symlink": "link"}
    return {node["path"]: kinds.get(node["type"], "other") for node in repo.ls(snapshot)}


def listed(tree: Tree) -> dict[str, str]:
    entries = manifest.read(tree.cwd / tree.manifest_name)
    # restic stores no sockets, and shows what is no UTF-8 as replacement characters.
    return {
        e.path.decode("utf-8", "replace"): e.kind for e in entries if not stat.S_ISSOCK(e.mode)
    }  # fmt: skip


def below(found: dict[str, str], top: Path) -> dict[str, str]:
    return {path: kind for path, kind in found.items() if path.startswith(str(top))}


def test_a_hostile_tree_is_captured_and_listed_as_restic_stores_it(tmp_path: Path, repo: Repository) -> None:
    tree = hostile(tmp_path)
    captured = capture(tmp_path, [tree])
    done = repo.backup_tree((*captured.paths, captured.manifest_name), cwd=captured.cwd, tags={"part": "data"})
    assert done.unreadable == () or os.geteuid() != 0
    mine, theirs = listed(captured), below(stored(repo, done.snapshot_id), tree)
    assert set(mine) == set(theirs)
    assert {k: v for k, v in mine.items() if v != "other"} == {k: v for k, v in theirs.items() if v != "other"}
    assert captured.settle().changed == ()


PATTERNS = [
    ["*.tmp"], ["cache"], ["/tree/*"], ["b/**/c"], ["/tree/*", "!*.keep"], ["dr-*"], ["[ab].txt"], ["b/c/"], ["?.txt"], ["**/deep"],
    ["tree/b"], ["nothing"], [".*"], ["\\*.txt"], ["b/*/deep"], ["[!a].txt"],
]  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_excludes_mean_what_they_mean_to_restic(tmp_path: Path, repo: Repository, patterns: list[str]) -> None:
    tree = tmp_path / "tree"
    for name in (
        "a.txt",
        "b.txt",
        "x.tmp",
        ".hidden",
        "*.txt",
        "k.keep",
        "b/c/deep/f",
        "b/x/c",
        "cache/z",
        "b/c/deep/x.tmp",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    excludes = [p.replace("/tree", str(tree)) if p.startswith("/") else p for p in patterns]
    captured = capture(tmp_path, [tree], exclude=excludes)
    done = repo.backup_tree(
        (*captured.paths, captured.manifest_name), cwd=captured.cwd, tags={"part": "data"}, excludes=captured.excludes
    )
    theirs = stored(repo, done.snapshot_id)
    assert listed(captured) == below(theirs, tree)
    assert "/dr-manifest" in theirs, "no pattern may leave the manifest out"


def forge(kept: Path, hashes: dict[bytes, str], *, started: datetime | None = None) -> None:
    """Write other hashes into a manifest, and that it was begun later: a hash found again was not read."""
    head = manifest.header(kept)
    started = started or datetime.fromisoformat(head["started"]) + timedelta(seconds=60)
    head["started"] = started.isoformat()
    entries = [e._replace(sha256=hashes.get(os.path.basename(e.path), e.sha256)) for e in manifest.read(kept)]
    manifest.write(kept, head, entries)


def hashes_of(tree: Tree) -> dict[bytes, str | None]:
    entries = manifest.read(tree.cwd / tree.manifest_name)
    return {os.path.basename(e.path): e.sha256 for e in entries if e.kind == "file"}


def states_of(tree: Tree) -> dict[bytes, str]:
    return {os.path.basename(e.path): e.state for e in manifest.read(tree.cwd / tree.manifest_name)}


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("same", "touched", "grown"):
        (tree / name).write_text(name)
        os.utime(tree / name, (1, 1))
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    forge(kept, {b"same": "f" * 64, b"touched": "e" * 64})
    os.utime(tree / "touched", (2, 2))
    with (tree / "grown").open("a") as file:
        file.write("more")
    again = capture(tmp_path, [tree], kept)
    hashes = hashes_of(again)
    assert hashes[b"same"] == "f" * 64, "reused, not read"
    assert hashes[b"touched"] == sha256_file(tree / "touched")[0]
    assert hashes[b"grown"] == sha256_file(tree / "grown")[0]


def test_a_file_that_changes_meanwhile_is_recorded_as_changed_never_as_wrong(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("still", "moving", "leaving"):
        (tree / name).write_text(name)
    captured = capture(tmp_path, [tree])
    (tree / "moving").write_text("moved on")
    (tree / "leaving").unlink()
    settled = captured.settle()
    states = {os.path.basename(e.path): e.state for e in manifest.read(captured.cwd / captured.manifest_name)}
    assert settled.amended and settled.vanished == 1
    assert (states[b"still"], states[b"moving"], states[b"leaving"]) == ("ok", "changed", "changed")


def test_a_hash_taken_in_the_moment_of_the_change_is_not_trusted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "fresh").write_text("fresh")
    os.utime(tree / "fresh", (1, 1))  # an old date, but the inode was changed just now
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    changed = datetime.fromtimestamp((tree / "fresh").stat().st_ctime, UTC)
    forge(kept, {b"fresh": "f" * 64}, started=changed + timedelta(seconds=1))
    assert hashes_of(capture(tmp_path, [tree], kept))[b"fresh"] == sha256_file(tree / "fresh")[0]
    forge(kept, {b"fresh": "f" * 64}, started=changed + timedelta(seconds=3))
    assert hashes_of(capture(tmp_path, [tree], kept))[b"fresh"] == "f" * 64


def test_content_put_in_place_with_the_old_date_and_size_is_read_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_text("first")
    os.utime(tree / "f", (1, 1))
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    forge(kept, {})
    time.sleep(0.02)
    (tree / "f").write_text("other")
    os.utime(tree / "f", (1, 1))
    assert hashes_of(capture(tmp_path, [tree], kept))[b"f"] == sha256_file(tree / "f")[0]


@pytest.mark.parametrize("damage", ["", "no manifest", '{"schema": 1}\n', "cut"])
def test_a_damaged_last_manifest_costs_a_full_read_and_nothing_else(tmp_path: Path, damage: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_text("x")
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    forge(kept, {b"f": "f" * 64})
    kept.write_bytes(kept.read_bytes()[:-30] if damage == "cut" else damage.encode())
    assert hashes_of(capture(tmp_path, [tree], kept))[b"f"] == sha256_file(tree / "f")[0]


def test_links_and_directories_that_change_meanwhile_are_recorded_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("stays", "goes", "shut"):
        (tree / name).mkdir(parents=True)
    (tree / "current").symlink_to("release-1")
    (tree / "old").symlink_to("release-0")
    os.utime(tree / "current", (1, 1), follow_symlinks=False)  # else the next may be made in the same tick of a clock
    captured = capture(tmp_path, [tree])
    (tree / "current").unlink()
    (tree / "current").symlink_to("release-2")
    (tree / "goes").rmdir()
    (tree / "shut").chmod(0o700)
    settled = captured.settle()
    assert states_of(captured) == {
        b"tree": "ok", b"stays": "ok", b"old": "ok", b"goes": "changed", b"shut": "changed", b"current": "changed",
    }  # fmt: skip
    assert settled.vanished == 1 and settled.amended


def test_a_file_swapped_for_another_thing_while_it_is_captured_is_changed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_text("content")
    captured = capture(tmp_path, [tree])
    (entry,) = [e for e in manifest.read(captured.cwd / captured.manifest_name) if e.kind == "file"]
    assert _hash(entry) == entry
    (tree / "g").write_text("CONTENT")
    os.utime(tree / "g", ns=(entry.mtime_ns, entry.mtime_ns))
    (tree / "g").replace(tree / "f")  # of the same size and date
    swapped = _hash(entry)
    assert swapped is not None and swapped.state == "changed"
    (tree / "f").unlink()
    assert _hash(entry) is None
    for make in (lambda p: p.symlink_to("/etc/passwd"), os.mkfifo):
        make(tree / "f")
        became = _hash(entry)
        assert became is not None and became.state == "changed"
        (tree / "f").unlink()


def test_files_that_vanish_before_they_are_read_are_counted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a", "b", "c"):
        (tree / name).write_text(name)
    found = [(os.fsencode(tree / name), (tree / name).lstat()) for name in ("a", "b", "c")]
    (tree / "b").unlink()
    tally = _Tally(frozenset())
    kept = list(tally.passing(hashed(_entries(found, LastHashes(None), set()))))
    assert ([os.path.basename(e.path) for e in kept], tally.vanished, tally.files) == ([b"a", b"c"], 1, 2)
    write_sorted(tmp_path / "m", {}, kept)
    settled = settle(tmp_path / "m", vanished=tally.vanished)
    assert settled.vanished == 1 and not settled.amended


def test_what_may_not_be_read_is_told_and_the_rest_is_captured(open_path: Path) -> None:
    tree = open_path / "tree"
    (open_path / "work").mkdir()
    (open_path / "work").chmod(0o777)
    (tree / "closed").mkdir(parents=True)
    (tree / "closed" / "inside").write_text("x")
    for name in ("secret", "open"):
        (tree / name).write_text(name)
    (tree / "secret").chmod(0)
    (tree / "closed").chmod(0)
    with as_nobody():
        captured = capture(open_path, [tree])
        states = states_of(captured)
    (tree / "closed").chmod(0o755)
    assert set(captured.unreadable) == {str(tree / "secret"), str(tree / "closed")}
    assert states == {b"tree": "ok", b"closed": "unreadable", b"secret": "unreadable", b"open": "ok"}
    assert captured.files == 1


def test_a_path_that_its_own_excludes_leave_out_is_never_an_empty_success(tmp_path: Path) -> None:
    for name in ("data", "scratch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    with pytest.raises(SourceError, match="left out by an exclude"):
        capture(tmp_path, [tmp_path / "scratch"], exclude=["scratch"])
    with pytest.raises(SourceError, match="left out by an exclude"):
        capture(tmp_path, [tmp_path / "data"], exclude=["*", "!*.keep"])  # restic would store nothing at all
    captured = capture(tmp_path, [tmp_path / "scratch", tmp_path / "data"], exclude=["scratch"])
    assert captured.paths == (str(tmp_path / "data"),)
    assert captured.missing == (f"{tmp_path}/scratch (left out by an exclude)",)


def test_a_pattern_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'\[z' is not a pattern"):
        capture(tmp_path, [tmp_path], exclude=["*.tmp", "[z"])


def test_paths_that_lie_in_one_another_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "t" / "b").mkdir(parents=True)
    (tmp_path / "t" / "b" / "f").write_text("x")
    captured = capture(tmp_path, [tmp_path / "t", tmp_path / "t" / "b", tmp_path / "t"])
    assert (captured.files, captured.bytes) == (1, 1)


def test_the_manifest_goes_aside_when_a_tree_is_put_in_order(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    captured = capture(tmp_path, [tmp_path / "t"])
    root = tmp_path / "restored" / "docs"
    root.mkdir(parents=True)
    doors = Files("docs", FilesSource.model_validate({"paths": [str(tmp_path / "t")]}))
    apart = tmp_path / "restored" / ".manifests" / "docs"
    instance = doors.restored(RestoreSlot(root=root, apart=apart, annex=lambda kind: root / kind, token="drill-1"))
    assert instance.settle() is None, "without a manifest there is none to tell of"
    (captured.cwd / captured.manifest_name).replace(root / "dr-manifest")
    aside = instance.settle()
    assert aside is not None and aside.parent == apart and aside.is_file()
    assert not list(root.iterdir())
    with pytest.raises(SourceError, match="answers no queries"):
        instance.probe("select 1")


def test_a_declared_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert capture(tmp_path, [tmp_path / "there", tmp_path / "gone"]).missing == (str(tmp_path / "gone"),)
    with pytest.raises(SourceError, match="no declared path"):
        capture(tmp_path, [tmp_path / "gone"])


def test_a_link_in_place_of_a_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(SourceError, match="symbolic link") as caught:
        capture(tmp_path, [tmp_path / "link"])
    assert str(tmp_path / "real") in caught.value.hint


def test_the_hashes_of_ten_thousand_files_are_used_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in range(100):
        (tree / f"{folder}").mkdir(parents=True)
        for number in range(100):
            (tree / f"{folder}" / f"{number}").write_bytes(b"%d" % number)
    first = capture(tmp_path, [tree])
    assert first.files == 10_000
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    forge(kept, {b"%d" % number: f"{number:064x}" for number in range(100)})
    again = capture(tmp_path, [tree], kept)
    found = [e for e in manifest.read(again.cwd / again.manifest_name) if e.kind == "file"]
    assert len(found) == again.files == 10_000
    assert all(e.sha256 == f"{int(os.path.basename(e.path)):064x}" for e in found), "reused, not one of them read"


def test_a_line_that_is_taken_over_is_the_line_that_would_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = hostile(tmp_path)
    (tree / "gone").write_text("gone")
    (tree / "touched").write_text("touched")
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    known = {os.path.basename(entry.path): "f" * 64 for entry in manifest.read(kept) if entry.kind == "file"}
    forge(kept, known)
    os.utime(tree / "touched", (2, 2))
    (tree / "gone").unlink()
    for name in ("before all", "zz after all"):
        (tree / name).write_text("new")

    def body() -> list[bytes]:
        again = capture(tmp_path, [tree], kept)
        return list(manifest.lines(again.cwd / again.manifest_name))

    taken, unchanged = list[bytes](), LastHashes.unchanged

    def noting(last: LastHashes, path: bytes, status: os.stat_result) -> Unchanged | None:
        found = unchanged(last, path, status)
        taken.extend([os.path.basename(path)] if found else [])
        return found

    monkeypatch.setattr(LastHashes, "unchanged", noting)
    one = body()
    assert sorted(taken) == sorted(known.keys() - {b"gone", b"touched"})
    monkeypatch.setattr(LastHashes, "unchanged", lambda *_: None)
    assert body() == one == sorted(one)


def test_a_manifest_survives_names_that_are_no_text(tmp_path: Path) -> None:
    entries = [
        manifest.Entry(b"/\xff\n'\"", "file", 3, "ab", link_target=None),
        manifest.Entry(b"/l", "link", link_target=b"\xfe"),
    ]
    manifest.write(tmp_path / "m", {"source": "s"}, entries)
    assert list(manifest.read(tmp_path / "m")) == entries
    (tmp_path / "m").write_text("{}\n")
    with pytest.raises(Exception, match="manifest cannot be read"):
        list(manifest.read(tmp_path / "m"))

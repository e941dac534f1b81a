"""Trees: the manifest lists exactly what restic stores, whatever the tree looks like."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source import FilesSource
from dr.sources.door import Tree
from dr.sources.files import Files
from dr.tools.digest import sha256_file
from dr.tools.restic import Repository


def repository(place: Path, program: str) -> Repository:
    made = Repository(
        program=program, location=str(place / "repo"), where="test", host="sis", env={"RESTIC_PASSWORD": "x"},
        cache=place / "cache",
    )  # fmt: skip
    made.init()
    return made


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
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tree / "s"))
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


def test_a_hostile_tree_is_captured_and_listed_as_restic_stores_it(tmp_path: Path, restic_program: str) -> None:
    tree = hostile(tmp_path)
    repo = repository(tmp_path, restic_program)
    captured = capture(tmp_path, [tree])
    done = repo.backup_tree((*captured.paths, captured.manifest_name), cwd=captured.cwd, tags={"part": "data"})
    assert done.unreadable == () or os.geteuid() != 0
    mine, theirs = listed(captured), below(stored(repo, done.snapshot_id), tree)
    assert set(mine) == set(theirs)
    assert {k: v for k, v in mine.items() if v != "other"} == {k: v for k, v in theirs.items() if v != "other"}
    assert captured.settle().changed == ()


PATTERNS = [
    ["*.tmp"], ["cache"], ["/tree/*"], ["b/**/c"], ["*", "!*.keep"], ["[ab].txt"], ["b/c/"], ["?.txt"], ["**/deep"],
    ["tree/b"], ["nothing"], [".*"], ["\\*.txt"], ["b/*/deep"], ["[!a].txt"],
]  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_excludes_mean_what_they_mean_to_restic(tmp_path: Path, restic_program: str, patterns: list[str]) -> None:
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
    repo = repository(tmp_path, restic_program)
    captured = capture(tmp_path, [tree], exclude=excludes)
    done = repo.backup_tree(
        (*captured.paths, captured.manifest_name), cwd=captured.cwd, tags={"part": "data"}, excludes=captured.excludes
    )
    theirs = stored(repo, done.snapshot_id)
    assert listed(captured) == below(theirs, tree)
    assert "/dr-manifest" in theirs, "no pattern may leave the manifest out"


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("same", "touched", "grown"):
        (tree / name).write_text(name)
        os.utime(tree / name, (1, 1))
    first = capture(tmp_path, [tree])
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    forged = (
        kept.read_text()
        .replace(sha256_file(tree / "same")[0], "f" * 64)
        .replace(sha256_file(tree / "touched")[0], "e" * 64)
    )
    kept.write_text(forged)
    os.utime(tree / "touched", (2, 2))
    with (tree / "grown").open("a") as file:
        file.write("more")
    again = capture(tmp_path, [tree], kept)
    hashes = {
        os.path.basename(e.path): e.sha256 for e in manifest.read(again.cwd / again.manifest_name) if e.kind == "file"
    }
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


@pytest.mark.slow
def test_a_hundred_thousand_small_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in range(100):
        (tree / f"{folder}").mkdir(parents=True)
        for number in range(1000):
            (tree / f"{folder}" / f"{number}").write_bytes(b"%d" % number)
    first = capture(tmp_path, [tree])
    assert first.files == 100_000
    kept = (first.cwd / first.manifest_name).replace(tmp_path / "kept")
    began = time.monotonic()
    assert capture(tmp_path, [tree], kept).files == 100_000
    print(f"reused 100,000 hashes in {time.monotonic() - began:.1f} s")


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

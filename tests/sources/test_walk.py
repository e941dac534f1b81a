"""Walking as restic walks: held side by side with restic itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dr.evidence.manifest import spelt
from dr.sources import sorted_lines
from dr.sources.sorted_lines import SortedTexts
from dr.sources.walk import excluder, walk

NOWHERE = Path("/proc/none")  # names in folders of usual size are held, and need no files
Lister = Callable[..., "set[bytes] | None"]
NAMES = ["a", "b", "ab", "a.b", "ü", "a b", "[a]", "x-y", "*", "\\", "a]", ".a", "!a", "^", "é.txt"]


@pytest.fixture(scope="module")
def restic_lists(restic_program: str, tmp_path_factory: pytest.TempPathFactory) -> Lister:
    """What restic would store of some paths, by a dry run; None when it refuses the patterns."""
    home = tmp_path_factory.mktemp("walk")
    env = {**os.environ, "RESTIC_REPOSITORY": str(home / "repo"), "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(home)}
    subprocess.run([restic_program, "init", "-q"], env=env, check=True)

    def lists(paths: Sequence[Path], patterns: Sequence[str] = (), *more: str) -> set[bytes] | None:
        argv = [restic_program, "backup", "--dry-run", "--json", "-vv", *more, *[f"--exclude={p}" for p in patterns]]
        done = subprocess.run([*argv, *map(str, paths)], env=env, capture_output=True, check=False)
        if b"invalid pattern" in done.stderr:
            return None
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        items = {e["item"] for e in events if e.get("action") in ("new", "changed", "modified", "unchanged")}
        found = {item.rstrip("/").encode() for item in items if item.startswith(tuple(map(str, paths)))}
        # restic 0.19 stores a named directory, bare, that a pattern leaves out; 0.18 does not. It is never handed one.
        return set() if found <= {os.fsencode(path) for path in paths} and left_out(paths, patterns) else found

    return lists


def left_out(paths: Sequence[Path], patterns: Sequence[str]) -> bool:
    """Whether patterns leave out every one of the named directories themselves."""
    excluded = excluder(patterns)
    return all(excluded(os.fsencode(path)) for path in paths)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three levels of names that patterns take for something else."""
    top = tmp_path_factory.mktemp("tree") / "t"
    for one in NAMES:
        (top / one).mkdir(parents=True)
        for two in NAMES[:6]:
            (top / one / two).mkdir()
            for three in NAMES[:4]:
                (top / one / two / three).touch()
    return top


def we_list(
    roots: Sequence[Path], patterns: Sequence[str] = (), *, one_filesystem: bool = False, aside: Path = NOWHERE
) -> list[bytes]:
    found = walk(
        [os.fsencode(root) for root in roots],
        excluded=excluder(patterns),
        one_filesystem=one_filesystem,
        unreadable=lambda path: None,
        aside=aside,
    )
    return [path for path, _ in found]


PATTERNS = [
    ["a"], ["a/b"], ["/a"], ["?"], ["[^a]"], ["a[^x]b"], ["[ü]"], ["[a-c]"], ["[c-a]"], ["[^c-a]"], ["."], ["./a"],
    ["a/../b"], ["a//b/"], ["**/b"], ["a/**/b"], ["a/**"], ["*/**/ab"], [r"\*"], [r"\\"], [r"\[a\]"], ["a]"],
    ["[[]a]"], [r"[\]a]"], ["!a"], ["*", "!a", "!t"], ["a*", "!ab", "*.b"], ["[!a]"], ["^"], ["!"], ["*.txt"],
    ["/"], ["..", " "], ["**"], [r"!\!a"], ["a*b"], ["/**/[ab]/**"], ["**/a/**"], ["t/**/b/**"],
    ["**/**"], ["/**/a/**/b/**"],
]  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_a_pattern_leaves_out_what_restic_leaves_out(tree: Path, restic_lists: Lister, patterns: list[str]) -> None:
    mine = we_list([tree], patterns)
    assert set(mine) == restic_lists([tree], patterns)
    assert len(mine) == len(set(mine))


@pytest.mark.parametrize("seed", range(12))
def test_patterns_made_by_chance_mean_the_same_to_restic(tree: Path, restic_lists: Lister, seed: int) -> None:
    chance = random.Random(seed)
    parts = [
        "a",
        "b",
        "*",
        "**",
        "?",
        "[ab]",
        "[^a]",
        "a*",
        "*b",
        ".",
        "..",
        "ü",
        r"\*",
        "[a-",
        "x-[x-z]",
        str(tree)[1:],
    ]
    patterns = [
        chance.choice(["", "", "!", "/", "!/"]) + "/".join(chance.choices(parts, k=chance.randint(1, 3)))
        for _ in range(chance.randint(1, 4))
    ]
    theirs = restic_lists([tree], patterns)
    if theirs is None:
        with pytest.raises(ValueError, match=r"."):
            excluder(patterns)
    else:
        assert set(we_list([tree], patterns)) == theirs, patterns


@pytest.mark.parametrize("pattern", ["[", "[a", "[]a]", "[a-]", "[-a]", "[^]", "x/[a/b]", "a\\", "[a\\", "!["])
def test_what_restic_refuses_is_refused(tree: Path, restic_lists: Lister, pattern: str) -> None:
    assert restic_lists([tree], [pattern]) is None
    with pytest.raises(ValueError, match=r"."):
        excluder([pattern])


def test_without_patterns_everything_is_listed(tree: Path, restic_lists: Lister) -> None:
    assert set(we_list([tree])) == restic_lists([tree])
    assert len(we_list([tree])) > 400


def test_paths_that_lie_in_one_another_are_listed_once(tree: Path, restic_lists: Lister) -> None:
    roots = [tree / "a" / "b", tree / "a", tree / "a", tree / "ab"]
    mine = we_list(roots)
    assert len(mine) == len(set(mine))
    assert set(mine) == restic_lists(roots)


def test_paths_come_in_the_order_of_a_manifests_lines(tree: Path, tmp_path: Path) -> None:
    for name in (b"a", b"a.b", b"a-", b"a\xff", b'a"', b"a\\", b"a!"):
        os.makedirs(os.fsencode(tmp_path) + b"/" + name + b"/" + name)
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".txt")).touch()
    for roots in ([tree], [tmp_path], [tmp_path / "a.b", tree, tmp_path / "a", tmp_path / "a-", tmp_path / "a" / "a"]):
        mine = we_list(roots)
        assert mine == sorted(set(mine), key=spelt) and len(mine) > 4
        assert [path for path in mine if os.path.dirname(path) in mine[mine.index(path) :]] == [], "parents come first"


def test_one_filesystem_ends_where_another_begins(restic_lists: Lister) -> None:
    top = Path("/dev")  # holds other file systems on every Linux: at least the terminals
    mounts = {m for m in top.iterdir() if m.is_dir() and not m.is_symlink() and m.stat().st_dev != top.stat().st_dev}
    assert mounts
    mine = set(we_list([top], one_filesystem=True))
    assert {os.fsencode(m) for m in mounts} <= mine
    assert not [p for p in mine if Path(os.fsdecode(p)).parent in mounts]
    assert set(we_list([top])) > mine
    theirs = restic_lists([top], (), "--one-file-system")
    assert theirs is not None
    # A dry run tells of directories and files, not of devices and links.
    assert {p for p in mine if os.path.isdir(p) and not os.path.islink(p)} == {p for p in theirs if os.path.isdir(p)}


def test_a_path_too_long_for_the_system_is_told_not_a_crash(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(22):
        os.mkdir("n" * 200, dir_fd=at)
        deeper = os.open("n" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(at)
    beyond: list[bytes] = []
    found = walk(
        [os.fsencode(tmp_path)],
        excluded=excluder([]), one_filesystem=False, unreadable=beyond.append, aside=NOWHERE,
    )  # fmt: skip
    longest = max(len(path) for path, _ in found)
    assert 3800 < longest < 4096
    assert len(beyond) == 1 and len(beyond[0]) >= 4096


def test_the_names_of_large_folders_are_put_in_order_in_files_that_are_gone_in_the_end(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tree / "a" / f'{number} "\\\n.txt').touch()
    (tree / "a" / os.fsdecode(b"\xff")).touch()
    held = we_list([tree])
    (aside := tmp_path / "aside").mkdir()
    monkeypatch.setattr(sorted_lines, "_PIECE", 4)
    most, remove = [0], SortedTexts.remove

    def watched(texts: SortedTexts) -> None:
        most.append(len(os.listdir(aside)))
        remove(texts)

    monkeypatch.setattr(SortedTexts, "remove", watched)
    assert we_list([tree], aside=aside) == held and len(held) > 100
    assert max(most) > 3 and os.listdir(aside) == []

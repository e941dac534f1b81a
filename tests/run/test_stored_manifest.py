"""A manifest in parts: what is stored makes the list that was captured, byte for byte, whatever came between."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.manifest_parts import assemble, delta, take
from dr.run.backup import stored_manifest
from dr.run.backup.stored_manifest import Beside, StoredManifest, keep_parts
from dr.sources.driver import RestoredSource, RestoreSlot
from tests.manifests import write_sorted

NAMES = [b"a", b"a b", b"a-1", b"a.txt", b"a!", b'a"b', b"a\\", b'x", "file', b"\xff\xfe", "ü".encode(), b"z\n", b"#"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these few entries were hundreds of thousands."""
    monkeypatch.setattr(stored_manifest, "LEAST", 0)


class Source:
    """A source whose files change from run to run, and what its runs store."""

    def __init__(self, home: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.reuse, self.home = home / "reuse", home
        self.entries: dict[bytes, Entry] = {}
        self.runs = 0
        for _ in range(60):
            self.change()

    def change(self) -> None:
        """Something comes, becomes another, moves, or goes."""
        path = b"/srv/" + b"/".join(self.chance.choices(NAMES, k=self.chance.randint(1, 3)))
        self.entries[path] = Entry(path, "file", self.chance.randrange(99), f"{self.chance.getrandbits(256):064x}")
        if self.chance.random() < 0.4:
            gone = self.entries.pop(self.chance.choice(list(self.entries)))
            if self.chance.random() < 0.5:
                self.entries[gone.path + b"~"] = gone._replace(path=gone.path + b"~")

    def run(self, *, amended: int = 0, kept: bool = True) -> tuple[Path, bytes]:
        """Capture, and store; return the folder that restic would have stored, and the manifest as it was captured."""
        self.runs += 1
        work, stored = self.home / "work" / "docs", self.home / f"stored-{self.runs}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        listed, parts = work / "dr-manifest", StoredManifest("docs", reuse=self.reuse, work=work)
        for _ in range(1 + amended):
            write_sorted(listed, {"source": "docs", "run": self.runs}, self.entries.values())
            whole = listed.read_bytes()
            with parts.laid(listed) as beside:
                shutil.rmtree(stored, ignore_errors=True)
                shutil.copytree(listed, stored)
                sizes = [path.stat().st_size for path in stored.iterdir()]
                assert beside == Beside(len(sizes), 1, sum(sizes))
            assert listed.read_bytes() == whole
            if amended:
                self.change()
        if kept:
            self.reuse.mkdir(exist_ok=True)
            keep_parts("docs", reuse=self.reuse, work=work)
            listed.replace(self.reuse / "docs")
        return stored, whole


@pytest.mark.parametrize("seed", range(3))
def test_fifty_runs_are_each_stored_so_that_the_parts_make_the_whole(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_manifest, "MOST", 9 + seed)
    source, found = Source(tmp_path, seed), []
    for number in range(50):
        for _ in range(source.chance.choice([0, 1, 3])):
            source.change()
        found.append(source.run(amended=number % 7 == 3, kept=number % 11 != 5))
        if number == 20:  # a run of a release that knows no parts
            manifest.write(source.reuse / "docs", {"source": "docs"}, source.entries.values())
        if number == 32:  # a new machine
            shutil.rmtree(source.reuse)
    counts = []
    for stored, whole in found:
        counts.append(len(list(stored.iterdir())) - 2)
        assemble(stored)
        assert stored.read_bytes() == whole
    assert max(counts) > 4, "parts are gone on with"
    assert counts[0] == counts[21] == counts[33] == 0, "a base is begun where the last is not known"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes]]:
    """The last of four runs, of which each changed something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_manifest, "LEAST", 0)
        source = Source(tmp_path_factory.mktemp("run"), 7)
        for _ in range(3):
            source.run()
            source.change()
        yield source.run()


@pytest.fixture
def parts(run: tuple[Path, bytes], tmp_path: Path) -> Path:
    """A copy of its parts."""
    return Path(shutil.copytree(run[0], tmp_path / "dr-manifest"))


def refused(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="missing or altered"):
        assemble(parts)
    assert parts.is_dir() and not parts.with_name(".dr-manifest.whole").exists()
    with pytest.raises(DamageError, match="missing or altered"):
        next(manifest.read(parts))
    with pytest.raises(DamageError):
        take(packed(parts, tmp_path), tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def packed(parts: Path, tmp_path: Path) -> Iterator[bytes]:
    """As restic gives a stored folder."""
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.add(parts, "dr-manifest")
    yield (tmp_path / "tar").read_bytes()


def test_parts_come_whole_as_files_and_as_one_stream(parts: Path, run: tuple[Path, bytes], tmp_path: Path) -> None:
    take(packed(parts, tmp_path), tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == run[1]
    assemble(parts)
    assert parts.read_bytes() == run[1]
    assemble(parts)  # again, and of one that was stored whole
    take([run[1][:9], run[1][9:]], tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == run[1] == parts.read_bytes()


@pytest.mark.parametrize("name", ["base", "head", delta(1), delta(2), delta(3)])
def test_a_part_that_is_missing_is_damage_and_never_fewer_files(parts: Path, tmp_path: Path, name: str) -> None:
    (parts / name).unlink()
    refused(parts, tmp_path)


def test_no_byte_of_any_part_can_be_altered_and_another_list_come_of_it(
    parts: Path, run: tuple[Path, bytes], tmp_path: Path
) -> None:
    for part in sorted(parts.iterdir()):
        good, noticed = part.read_bytes(), 0
        places = random.Random(1).sample(range(len(good)), min(len(good), 30))
        for place in places:
            part.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            try:  # what a later part says otherwise has no part in the whole
                assert manifest_of(parts, tmp_path) == run[1]
            except DamageError:
                noticed += 1
        assert noticed > len(places) / 4
        part.write_bytes(good)
    assert manifest_of(parts, tmp_path) == run[1]


def manifest_of(parts: Path, tmp_path: Path) -> bytes:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True) if copy.is_dir() else copy.unlink(missing_ok=True)
    shutil.copytree(parts, copy)
    assemble(copy)
    return copy.read_bytes()


def test_a_restore_that_goes_on_settles_the_parts_again(run: tuple[Path, bytes], tmp_path: Path) -> None:
    room = RestoreSlot(root=tmp_path / "docs", apart=tmp_path / "apart", annex=Path, token="drill")
    source, listed = RestoredSource("docs", "files", room), room.root / "dr-manifest"
    for spoilt in (False, False, True, True, False):  # an interrupted call left each for the next
        shutil.copytree(run[0], listed)
        if spoilt:
            (listed / delta(2)).unlink()
        aside = source.settle()
        assert aside is not None and not listed.exists()
        if spoilt:
            with pytest.raises(DamageError, match="missing or altered"):
                manifest.header(aside)
        else:
            assert aside.read_bytes() == run[1]


def test_the_head_of_an_earlier_run_does_not_go_with_later_parts(parts: Path, run: tuple[Path, bytes]) -> None:
    head = parts / "head"
    head.write_bytes(head.read_bytes().replace(b'"deltas": 3', b'"deltas": 2'))
    with pytest.raises(DamageError, match="missing or altered"):
        assemble(parts)


def test_parts_on_this_disk_that_were_spoilt_are_not_gone_on_with(tmp_path: Path) -> None:
    source = Source(tmp_path, 3)
    source.run()
    source.change()
    source.run()
    spoilt = source.reuse / ".parts" / "docs" / delta(1)
    spoilt.write_bytes(spoilt.read_bytes()[:-9])
    source.change()
    stored, whole = source.run()
    assert not (stored / delta(1)).exists(), "a base is begun"
    assemble(stored)
    assert stored.read_bytes() == whole


def test_the_reader_that_the_docs_show_puts_parts_together(
    parts: Path, run: tuple[Path, bytes], tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recover.md").read_text("utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(shown.splitlines()) <= 20
    (tmp_path / "join.py").write_text(shown)
    argv = [sys.executable, str(tmp_path / "join.py"), str(parts)]
    assert subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout == run[1]
    (parts / delta(2)).write_bytes(b"")
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode and not done.stdout, "the control: it looks at the digest"

"""restic, as it really behaves: every trap closed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from dr.errors import DrError, InterruptedRunError, LockedError, NoRepositoryError, RefusedError, TargetDownError
from dr.tools import command, restic_stream
from dr.tools.digest import sha256_file
from dr.tools.restic import Repository, make_if_absent
from dr.tools.restic_events import Events, error_for, unneeded_of
from dr.tools.restic_program import find_restic, version
from tests.conftest import ROOT
from tests.far import command_lines
from tests.waiting import LIMIT, soon

TAGS = {"system": "sis", "run": "r1", "part": "data"}


@pytest.fixture(scope="module")
def restic_program(plain_restic: str) -> str:
    return plain_restic


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(os.urandom(200_000))
    return tmp_path


def repository(place: Path, program: str, *, password: str = "x", name: str = "repo") -> Repository:
    return Repository(
        program=program, location=str(place / name), where="sis on disk", host="sis",
        env={"RESTIC_PASSWORD": password}, cache=place / "cache",
    )  # fmt: skip


@pytest.fixture(scope="module")
def quickly_made(quick_restic: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a repository, and another that is to be copied into, whose keys cost little to make and to open."""
    place = tmp_path_factory.mktemp("made")
    repository(place, quick_restic).init()
    repository(place, quick_restic, password="another", name="other").init()
    return place


@pytest.fixture
def repo(place: Path, restic_program: str, quickly_made: Path) -> Repository:
    shutil.copytree(quickly_made / "repo", place / "repo")
    return repository(place, restic_program)


def test_a_repository_is_made_and_told_from_any_other(place: Path, restic_program: str) -> None:
    made = repository(place, restic_program)
    assert make_if_absent(made, exists=lambda: False) == made.identity()


def test_a_repository_that_is_not_there_is_told_from_one_that_refuses(
    place: Path, restic_program: str, repo: Repository
) -> None:
    with pytest.raises(NoRepositoryError):
        repository(place, restic_program, name="none").snapshots()
    with pytest.raises(RefusedError) as caught:
        repository(place, restic_program, password="wrong").snapshots()
    assert caught.value.exit_code == 12 and not caught.value.retryable


def test_a_second_maker_finds_what_the_first_made(repo: Repository) -> None:
    answers = iter([False, True])
    assert make_if_absent(repo, exists=lambda: next(answers)) == ""


def test_a_missing_path_that_restic_skips_silently_is_reported(place: Path, repo: Repository) -> None:
    stored = repo.backup_tree([str(place / "source"), "/nonexistent"], cwd=place / "work", tags=TAGS)
    assert "/nonexistent" in " ".join((*stored.skipped, *stored.unreadable))


def test_tags_make_a_snapshot_recognisable(place: Path, repo: Repository) -> None:
    stored = repo.backup_tree([str(place / "source")], cwd=place / "work", tags=TAGS)
    (snapshot,) = repo.snapshots()
    assert (snapshot.id, snapshot.tags, snapshot.hostname) == (stored.snapshot_id, TAGS, "sis")


def test_a_stream_is_stored_only_when_its_source_succeeded(place: Path, repo: Repository) -> None:
    good = repo.backup_stream("out.sql", tags=TAGS, work=place / "work")
    good.write(b"hello " * 100_000)
    stored = good.commit()
    assert repo.dump(stored.snapshot_id, "/out.sql") == b"hello " * 100_000
    for half in (b"", b"half" * 100_000):
        bad = repo.backup_stream("out.sql", tags=TAGS, work=place / "work")
        if half:
            bad.write(half)
        bad.abort()
        bad.abort()
    assert [s.id for s in repo.snapshots()] == [stored.snapshot_id]
    assert not list((place / "work").iterdir()) and not list((place / "repo" / "locks").iterdir())


def test_a_stream_to_a_repository_that_refuses_ends_at_once(place: Path, restic_program: str, repo: Repository) -> None:
    stream = repository(place, restic_program, password="wrong").backup_stream("x", tags=TAGS, work=place / "work")
    with pytest.raises(RefusedError):
        for _ in range(1000):
            stream.write(b"x" * 1_000_000)


def test_a_stopped_backup_leaves_nothing(place: Path, repo: Repository) -> None:
    (place / "source" / "big").write_bytes(os.urandom(150_000_000))

    def stop() -> None:
        soon(lambda: any((place / "repo" / "data").glob("*/*")))  # it is amid its work
        command.interrupt_all()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(InterruptedRunError):
        repo.backup_tree([str(place / "source")], cwd=place / "work", tags=TAGS)
    stopping.join()
    command.resume()
    assert repo.snapshots() == []


def test_holes_come_back_as_holes_also_over_what_lies_there(place: Path, repo: Repository) -> None:
    with (place / "source" / "disk.raw").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(30 << 20)
        file.write(os.urandom(1 << 20))
    snapshot = repo.backup_tree((str(place / "source"),), cwd=place / "work", tags=TAGS).snapshot_id
    back = place / f"back{place}" / "source" / "disk.raw"
    repo.restore(snapshot, place / "back")
    assert back.stat().st_size == 64 << 20 and back.stat().st_blocks * 512 < 8 << 20
    back.write_bytes(os.urandom(70 << 20))
    repo.restore(snapshot, place / "back", overwrite="always")
    assert sha256_file(back) == sha256_file(place / "source" / "disk.raw")


def test_damage_in_a_restore_is_named_and_the_rest_is_written(place: Path, repo: Repository) -> None:
    (place / "source" / "small").write_text("small")
    stored = repo.backup_tree([str(place / "source")], cwd=place / "work", tags=TAGS)
    for path in (place / "repo" / "data").rglob("*"):
        if path.is_file() and path.stat().st_size > 100_000:
            path.chmod(0o600)
            data = bytearray(path.read_bytes())
            data[1000] ^= 1
            path.write_bytes(data)
    restored = repo.restore(stored.snapshot_id, place / "out")
    assert any("file" in error for error in restored.errors)
    assert repo.check().clean, "the structure alone does not show a flipped byte"
    checked = repo.check(read_data_subset="1/1")
    assert not checked.clean and len(checked.broken_packs) == 1
    assert repo.find_pack(checked.broken_packs) == {stored.snapshot_id}


def test_snapshots_are_copied_with_their_tags(
    place: Path, restic_program: str, repo: Repository, quickly_made: Path
) -> None:
    repo.backup_tree([str(place / "source")], cwd=place / "work", tags=TAGS)
    shutil.copytree(quickly_made / "other", place / "other")
    other = repository(place, restic_program, password="another", name="other")
    other.copy_from(repo, [s.id for s in repo.snapshots()])
    assert [s.tags for s in other.snapshots()] == [TAGS]


def test_what_index_files_name_is_the_packs_that_are_stored(place: Path, repo: Repository) -> None:
    repo.backup_tree([str(place / "source")], cwd=place / "work", tags=TAGS)
    ids = [path.name for path in (Path(repo.location) / "index").iterdir()]
    stored = {path.name: path.stat().st_size for path in Path(repo.location, "data").glob("??/*")}
    named = repo.indexed(ids)
    assert named.packs.keys() == stored.keys() and named.indexes == tuple(sorted(ids))
    assert all(0 < size < stored[pack] for pack, size in named.packs.items()), "a pack has a header too"


def test_a_pack_that_two_index_files_name_is_no_damage_of_the_index(place: Path, repo: Repository) -> None:
    """As at a replica that follows late: the index is made again where retention went ahead, and both come there."""
    for each in ("one", "two"):
        (place / "source" / "file").write_bytes(os.urandom(50_000))
        repo.backup_tree([str(place / "source")], cwd=place / "work", tags={**TAGS, "run": each})
    root = Path(repo.location)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    argv = [repo.program, "-r", repo.location, "forget", "--keep-last", "1", "--group-by", "host", "--prune"]
    subprocess.run([*argv, "--max-unused", "0", "--no-cache"], env=repo.env, check=True, capture_output=True)
    merged = next(path for path in (root / "index").iterdir() if path not in before)
    for path in before.keys() - set(root.rglob("*")):
        path.write_bytes(before[path])
    checked = repo.check()
    assert checked.clean and not checked.index_broken
    next(path for path in (root / "data").rglob("*") if path.is_file()).unlink()
    checked = repo.check()
    assert len(checked.missing) == 1 and not checked.index_broken, "data damage is not taken for that of the index"
    merged.chmod(0o600)
    merged.write_bytes(b"junk")
    checked = repo.check()
    assert checked.index_broken and checked.unread == (merged.name,)


def test_no_secret_is_in_arguments(place: Path, restic_program: str) -> None:
    secret = repository(place, restic_program, password="planted-secret")
    assert "planted-secret" not in " ".join(secret.argv("backup")) + repr(secret)


def test_lines_that_are_no_json_are_messages() -> None:
    events = Events()
    for line in ('{"message_type":"summary","snapshot_id":"a"}', "plain words", "[1]", '{"half', ""):
        events.feed(line)
    assert events.summary["snapshot_id"] == "a" and events.messages == ["plain words", "[1]", '{"half']


@pytest.mark.parametrize(
    ("code", "words", "kind", "retryable"),
    [
        (1, "dial tcp 127.0.0.1:9: connect: connection refused", TargetDownError, True),
        (1, "Post: readfrom tcp 127.0.0.1:9: use of closed network connection", TargetDownError, True),
        (1, 'Post "http://127.0.0.1:9/share/?create=true": request timeout', TargetDownError, True),
        (1, "Access Denied", RefusedError, False),
        (1, "The specified bucket does not exist", TargetDownError, False),
        (1, "write /x: no space left on device", DrError, False),
        (10, "", NoRepositoryError, False), (11, "", LockedError, True), (12, "", RefusedError, False),
        (130, "", InterruptedRunError, False), (77, "unheard of", DrError, False),
    ],
)  # fmt: skip
def test_what_went_wrong_knows_whether_another_try_can_help(code: int, words: str, kind: type, retryable: bool) -> None:
    events = Events(fatal=words)
    error = error_for(code, events, where="w", doing="it")
    assert type(error) is kind and error.retryable is retryable and error.hint


@pytest.mark.parametrize(
    ("starved", "told"),
    [("ulimit -v 400000; exec", "found no memory"), ("kill -9 $$;", "was killed, as the kernel does")],
)
def test_a_restic_that_memory_ran_out_for_is_called_that(
    place: Path, tmp_path: Path, restic_program: str, starved: str, told: str
) -> None:
    """Its last words are otherwise a line of its own program, or none at all."""
    repository(place, restic_program).init()
    starving = tmp_path / "starving"
    starving.write_text(f'#!/bin/sh\n{starved} {restic_program} "$@"\n')
    starving.chmod(0o755)
    with pytest.raises(DrError, match=f"restic {told}") as caught:
        repository(place, str(starving)).snapshots()
    assert ".go:" not in str(caught.value) and "memory" in caught.value.hint


def test_a_lock_of_another_program_is_waited_for_then_said(place: Path, tmp_path: Path, restic_program: str) -> None:
    fake = tmp_path / "bin" / "restic"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho x >> "$0.tries"\necho "locked" >&2\nexit 11\n')
    fake.chmod(0o755)
    with pytest.raises(LockedError):
        from dr.tools import retry

        retry.persist(repository(place, str(fake)).unlock, what="w", tries=1)
    tries = Path(f"{fake}.tries").read_text().count("x")
    assert tries == 4, "each call tries again, bounded"


def test_an_old_restic_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "restic"
    fake.write_text("#!/bin/sh\necho 'restic 0.14.0 compiled with go'\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert version("restic") == (0, 14, 0)
    assert find_restic({}).endswith("/restic") and "restic-0.1" in find_restic({})
    with pytest.raises(DrError, match=r"restic 0\.18\.0 or newer") as caught:
        find_restic({}, project=tmp_path)
    assert "with the system's packages" in caught.value.hint
    assert "get-restic" not in caught.value.hint, "a script that is not there"


class _Kept(dict[str, str]):
    """A memory."""

    put_all = dict.update


def test_a_build_that_was_asked_for_its_version_is_not_asked_again_and_any_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, kept = tmp_path / "restic", _Kept()
    shutil.copyfile("/bin/true", program)
    program.chmod(0o755)
    asked: list[str] = []
    monkeypatch.setattr("dr.tools.restic_program._asked", lambda name: asked.append(name) or (0, 18, len(asked)))
    assert [version(str(program), kept) for _ in range(2)] == [(0, 18, 1)] * 2, "as it was kept"
    assert version(str(program)) == (0, 18, 2), "without a memory it is asked"
    again = tmp_path / "again"
    shutil.copyfile("/bin/true", again)
    again.chmod(0o755)
    os.utime(again, ns=(program.stat().st_atime_ns, program.stat().st_mtime_ns))
    again.replace(program)
    assert version(str(program), kept) == (0, 18, 3), "another file of that name, size and time"
    program.write_text("#!/bin/sh\nexec restic-of-today\n")
    assert [version(str(program), kept) for _ in range(2)] == [(0, 18, 4), (0, 18, 5)], "a script may start any"
    assert version(str(tmp_path / "none"), kept) == (0, 18, 6) and len(kept) == 2


def test_the_script_that_brings_restic_is_named_where_it_is(tmp_path: Path) -> None:
    old = tmp_path / "restic"
    old.write_text("#!/bin/sh\necho 'restic 0.14.0 compiled with go'\n")
    old.chmod(0o755)
    with pytest.raises(DrError, match="and 0\\.18\\.0 or newer is needed") as caught:
        find_restic({"DR_RESTIC": str(old)})
    assert f"run {ROOT}/scripts/get-restic" in caught.value.hint


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    with pytest.raises(command.TimeoutExpiredError):
        command.run(["sh", "-c", "sleep 6000.5 & sleep 6000.5"], timeout=0.5)
    assert soon(lambda: "6000.5" not in command_lines())


def test_last_words_are_printable() -> None:
    done = command.run(["sh", "-c", "printf 'a\\033[1mb\\n' >&2; exit 4"])
    assert (done.code, done.last_words) == (4, "a?[1mb")


def test_the_guard_of_a_stream_ends_when_its_writer_died_before_it_opened_the_pipe(tmp_path: Path) -> None:
    pipe, okay = tmp_path / "pipe", tmp_path / "okay"
    os.mkfifo(pipe)
    guard = ["sh", "-c", restic_stream._GUARD, "guard", str(pipe), str(okay)]
    assert subprocess.run(guard, timeout=LIMIT, check=False).returncode == 1
    pipe.unlink()
    assert subprocess.run(guard, timeout=LIMIT, check=False).returncode == 1
    assert not pipe.exists(), "a guard that came too late must make no file"


def test_what_a_rehearsed_prune_says_is_read_and_silence_is_no_answer() -> None:
    said = "x following unreferenced packs:\n{00112233}\n\nWould have removed the following no longer used packs:\n{15d68722 e32c3f42}\n"
    assert unneeded_of(said) == {"00112233", "15d68722", "e32c3f42"}
    assert unneeded_of("no longer used packs:\n{}\n") == set()
    with pytest.raises(DrError, match="does not say"):
        unneeded_of("something else")

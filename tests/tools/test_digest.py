"""Hashes of files, one and many."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from dr.tools import digest
from dr.tools.digest import NotAFileError, in_threads, leave_closed, open_file, open_unseen, read_and_close, sha256_file

BLOCK = 1 << 20


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_a_file_has_its_sha256_at_every_size(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == (hashlib.sha256(data).hexdigest(), size)


@pytest.mark.parametrize("grown", [-1, 0, 1])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_a_file_read_by_the_size_it_had_has_its_sha256_whatever_it_has_now(
    tmp_path: Path, size: int, grown: int
) -> None:
    data = os.urandom(size + grown)
    (tmp_path / "f").write_bytes(data)
    descriptor = open_unseen(os.fsencode(tmp_path / "f"))
    read = read_and_close(descriptor, size, lambda opened: opened)
    assert read == (hashlib.sha256(data).hexdigest(), len(data), descriptor, (tmp_path / "f").stat())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_nothing_is_taken_from_a_pipe_that_came_in_place_of_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    pipe = os.open(tmp_path / "p", os.O_RDWR)
    os.write(pipe, b"for somebody else")
    for name in ("p", "."):
        descriptor = open_unseen(os.fsencode(tmp_path / name))
        with pytest.raises(NotAFileError):
            read_and_close(descriptor, 3, lambda opened: opened)
    assert os.read(pipe, 100) == b"for somebody else"
    os.close(pipe)


def test_one_flipped_bit_is_another_hash(tmp_path: Path) -> None:
    data = bytearray(os.urandom(2 * BLOCK))
    (tmp_path / "f").write_bytes(data)
    before = sha256_file(tmp_path / "f")
    data[BLOCK + 5] ^= 1
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") != before


def test_a_file_that_hides_its_size_is_read_to_its_end() -> None:
    digest, size = sha256_file("/proc/version")
    data = Path("/proc/version").read_bytes()
    assert os.stat("/proc/version").st_size == 0
    assert (digest, size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_links_are_not_followed_and_fifos_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "l").symlink_to("f")
    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match="symbolic links"):
        sha256_file(tmp_path / "l")
    for name in ("p", "."):
        with pytest.raises(NotAFileError):
            sha256_file(tmp_path / name)


def test_the_access_time_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    os.utime(tmp_path / "f", ns=(1, 2))  # so old that any read would renew it
    sha256_file(tmp_path / "f")
    assert (tmp_path / "f").stat().st_atime_ns == 1


def test_a_file_of_somebody_else_is_read_all_the_same() -> None:
    if os.geteuid() == 0:  # root may leave any access time alone: try as somebody who may not
        os.seteuid(65534)
    try:
        descriptor = open_file("/etc/passwd")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    os.close(descriptor)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 5000])
def test_threads_give_every_result_in_order(count: int) -> None:
    assert list(in_threads(lambda n: n * 2, range(count), threads=3)) == [n * 2 for n in range(count)]


def test_the_work_is_done_in_several_threads() -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(number: int) -> str:
        if number in (0, 5):
            both.wait()  # broken, hence an error, unless two threads are at work
        return threading.current_thread().name

    assert len(set(in_threads(meet, range(100), threads=2))) == 2


def test_a_failure_in_a_thread_reaches_the_caller() -> None:
    def act(number: int) -> int:
        if number == 700:
            raise ValueError("seven hundred")
        return number

    with pytest.raises(ValueError, match="seven hundred"):
        list(in_threads(act, range(1000), threads=2))


def test_a_file_that_this_process_has_locked_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "locked").write_bytes(b"x")
    leave_closed(tmp_path / "locked", tmp_path / "absent")
    with pytest.raises(NotAFileError):
        sha256_file(tmp_path / "locked")
    (tmp_path / "other name").hardlink_to(tmp_path / "locked")
    with pytest.raises(NotAFileError):
        sha256_file(tmp_path / "other name")


def test_a_locked_file_that_is_opened_unseen_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").write_bytes(b"x")
    leave_closed(tmp_path / "locked")
    monkeypatch.setattr(digest, "_met", met := list[int]())
    descriptor = open_unseen(os.fsencode(tmp_path / "locked"))
    with pytest.raises(NotAFileError):
        read_and_close(descriptor, 1, lambda opened: opened)
    assert met == [descriptor]
    os.fstat(descriptor)
    with pytest.raises(NotAFileError):  # from now on each is looked at first
        open_unseen(os.fsencode(tmp_path / "locked"))
    os.close(descriptor)


def test_a_file_with_the_inode_of_one_that_was_locked_and_is_gone_is_like_any_other(tmp_path: Path) -> None:
    """SQLite removes its log when the last connection closes; the next file made takes the inode."""
    (tmp_path / "log").write_bytes(b"x")
    leave_closed(tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / "letter")
    assert sha256_file(tmp_path / "letter")[1] == 1
    (tmp_path / "log").write_bytes(b"another")
    assert sha256_file(tmp_path / "letter")[1] == 1

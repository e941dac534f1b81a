"""The manifest comes back as it was written, or not at all."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import Entry

whole = st.integers(min_value=0, max_value=2**63)
entries = st.builds(
    Entry,
    path=st.binary(min_size=1),
    kind=st.sampled_from(["file", "dir", "link", "other"]),
    size=whole,
    sha256=st.none() | st.just("ab" * 32),
    mode=whole,
    mtime_ns=st.integers(min_value=-(2**63), max_value=2**63),
    inode=whole,
    link_target=st.none() | st.binary(),
    state=st.sampled_from(["ok", "changed", "unreadable"]),
)


def written(path: Path, count: int = 3) -> Path:
    head = manifest.header_of(source="docs", kind="files", started=datetime(2026, 1, 2, tzinfo=UTC))
    manifest.write(path, head, [Entry(b"/f%d" % n, "file", n, "ab" * 32) for n in range(count)])
    return path


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(entries))
def test_whatever_is_written_is_read(tmp_path: Path, listed: list[Entry]) -> None:
    manifest.write(tmp_path / "m", {"source": "docs"}, listed)
    assert list(manifest.read(tmp_path / "m")) == listed
    assert manifest.header(tmp_path / "m")["source"] == "docs"


FIELDS = ("size", "mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "device")


PATHS = [b"/srv/a, b", b"/", b'/srv/", "file", 1, "', b"/back\\slash", b"/\xff", "/ü".encode()]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(entries, st.sampled_from(PATHS), st.none() | st.sampled_from(FIELDS))
def test_a_line_tells_of_a_status_just_when_its_entry_does(entry: Entry, path: bytes, changed: str | None) -> None:
    """What is compared as text is never taken for the same where a value is another."""
    entry = entry._replace(path=path)
    values = {name: getattr(entry, name) for name in FIELDS}
    if changed:
        values[changed] ^= 1
    numbers = (values[name] for name in ("mode", "inode", "device"))
    status = os.stat_result(
        (*numbers, 1, values["uid"], values["gid"], values["size"], 0, 0, 0),
        {"st_mtime_ns": values["mtime_ns"], "st_ctime_ns": values["ctime_ns"]},
    )
    line = manifest.line_of(entry)
    found = manifest.file_of(line)
    assert found == (path if entry.kind == "file" else None)
    alike = (
        entry.kind == "file"
        and entry.sha256 is not None
        and entry.link_target is None
        and entry.state == "ok"
        and not changed
    )
    assert manifest.tells_of(line, status) == alike


def test_a_manifest_with_any_byte_flipped_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m")
    good = path.read_bytes()
    assert len(list(manifest.read(path))) == 3
    for place in range(len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DamageError):
            list(manifest.read(path))


def test_a_manifest_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m")
    good = path.read_bytes()
    for size in range(len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(DamageError):
            list(manifest.read(path))


def test_a_line_left_out_or_added_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "m")
    lines = path.read_bytes().splitlines(keepends=True)
    for other in ([*lines[:2], *lines[3:]], [*lines[:2], lines[1], *lines[2:]], [*lines, lines[1]]):
        path.write_bytes(b"".join(other))
        with pytest.raises(DamageError, match="altered"):
            list(manifest.read(path))


def test_a_manifest_of_before_ends_were_written_is_still_read(tmp_path: Path) -> None:
    path = written(tmp_path / "m")
    head, *lines, _end = path.read_text().splitlines()
    old = {key: value for key, value in json.loads(head).items() if key != "ends"}
    path.write_text("\n".join([json.dumps(old), *lines]) + "\n")
    assert len(list(manifest.read(path))) == 3


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "no json", '{"schema": 2}', '{"schema": 1}\n[1]', '{"schema": 1}\n' + "[" * 99_999]
)
def test_what_is_no_manifest_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(DamageError, match="manifest cannot be read"):
        list(manifest.read(tmp_path / "m"))


def test_a_manifest_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    for look in (manifest.header, lambda path: list(manifest.read(path))):
        with pytest.raises(DamageError):
            look(tmp_path / "m")


def test_a_failure_in_mid_write_leaves_the_last_manifest(tmp_path: Path) -> None:
    path = written(tmp_path / "m")

    def failing() -> object:
        yield Entry(b"/x", "file")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manifest.write(path, {}, failing())  # type: ignore[arg-type]
    assert len(list(manifest.read(path))) == 3


def test_a_stream_is_one_file_at_the_root(tmp_path: Path) -> None:
    manifest.write_stream(
        tmp_path / "m", source="dump", kind="command", started=datetime.now(UTC), filename="a.sql", size=9, sha256="cd"
    )
    assert list(manifest.read(tmp_path / "m")) == [Entry(b"/a.sql", "file", 9, "cd")]

"""A made-up small school district: files that begin as their kind does, and a database; the same each time."""

from __future__ import annotations

import io
import random
import sqlite3
import zipfile
from pathlib import Path

STUDENTS, PHOTOS, DOCUMENTS = 4200, 150, 240
#: What the content of a file of each kind stands between.
_FRAMES = {
    "jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", b"\xff\xd9"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"IEND\xaeB`\x82"),
    "pdf": (b"%PDF-1.7\n", b"\n%%EOF\n"),
}


def content(kind: str, maker: random.Random, size: int) -> bytes:
    """Return a file of about `size` bytes: "jpg", "png", "pdf", or "docx", which is a zip. Its inside is noise."""
    if kind != "docx":
        head, tail = _FRAMES[kind]
        return head + maker.randbytes(size) + tail
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as document:
        document.writestr("[Content_Types].xml", "<Types/>")
        document.writestr("word/document.xml", maker.randbytes(size))
    return whole.getvalue()


def make_student_system(place: Path, maker: random.Random) -> None:
    """Make a database under write-ahead logging, and a tree of photos."""
    photos = place / "uploads" / "photos"
    photos.mkdir(parents=True)
    for number in range(PHOTOS):
        (photos / f"{number:04d}.jpg").write_bytes(content("jpg", maker, 200_000))
    with sqlite3.connect(place / "sis.db") as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table students (id integer primary key, grade integer)")
        database.execute("create table attendance (id integer primary key, student integer, seen text, note blob)")
        database.executemany("insert into students (grade) values (?)", [(number % 13,) for number in range(STUDENTS)])
        rows = [(number % STUDENTS + 1, "2026-01-05T13:00:00Z", maker.randbytes(90)) for number in range(60_000)]
        database.executemany("insert into attendance (student, seen, note) values (?, ?, ?)", rows)
    database.close()


def make_file_share(place: Path, maker: random.Random) -> None:
    """Make the documents of eight departments."""
    kinds = ("docx", "pdf", "docx", "png", "docx", "jpg")
    for number in range(DOCUMENTS):
        folder = place / f"department {number % 8}" / f"year {2020 + number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        kind = kinds[number % len(kinds)]
        (folder / f"document {number}.{kind}").write_bytes(content(kind, maker, 100_000 + 1000 * (number % 150)))


def encrypt(place: Path) -> int:
    """Do what ransomware does: write noise in each file's place, under another name, with a note in each directory."""
    found = [path for path in sorted(place.rglob("*")) if path.is_file()]
    for path in found:
        path.write_bytes(random.Random(path.name).randbytes(path.stat().st_size))
        path.rename(path.with_name(f"{path.name}.locked"))
        (path.parent / "READ ME.txt").write_text(
            "All your files are encrypted. Pay in bitcoin to restore your files.\n"
        )
    return len(found)

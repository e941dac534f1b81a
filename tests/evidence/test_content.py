"""What bytes look like: encrypted files are told from compressed ones by how they begin, and from text by entropy."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dr.evidence.content import entropy, extension, head_of, is_random, look, packed, threatens


def cipher(data: bytes, key: bytes = b"key") -> bytes:
    """Really encrypt: SHA-256 in counter mode."""
    stream = b"".join(hashlib.sha256(key + n.to_bytes(8, "big")).digest() for n in range(len(data) // 32 + 1))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def document() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", os.urandom(20_000).hex())
    return made.getvalue()


REAL = {
    "letter.docx": document(),
    "photo.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + os.urandom(9_000),
    "paper.pdf": b"%PDF-1.7\n" + os.urandom(9_000),
    "film.mp4": b"\0\0\0\x20ftypisom" + os.urandom(9_000),
    "old.log.gz": gzip.compress(os.urandom(9_000)),
    "notes.txt": b"The quick brown fox jumps over the lazy dog. " * 200,
    "grades.csv": b"".join(b"%d,2026-01-%02d,%d.5\n" % (n, n % 28, n * 37 % 101) for n in range(500)),
    "no extension": b"plain words, many of them\n" * 100,
    "r\xc3\xa9sum\xc3\xa9.html".encode("latin-1").decode("latin-1"): b"<html><body>" + b"<p>words</p>" * 300,
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_a_file_as_it_should_be_looks_so_and_encrypted_it_does_not(name: str) -> None:
    head = REAL[name][:4096]
    assert look(name.encode(), head) in ("named", "plain")
    assert look(name.encode(), cipher(REAL[name])[:4096]) == "encrypted"


def test_the_middle_of_a_text_tells_too() -> None:
    head = REAL["notes.txt"][:4096]
    assert look(b"notes.txt", head, cipher(head)) == "encrypted"
    assert look(b"notes.txt", head, head) == "plain"
    assert look(b"photo.jpg", REAL["photo.jpg"][:4096], os.urandom(4096)) == "named"


def test_a_type_that_is_another_is_not_suspect_and_one_that_is_none_is() -> None:
    assert look(b"photo.jpg", b"\x89PNG\r\n" + os.urandom(4000)) == "known"
    assert look(b"photo.jpg", b"\0" * 4096) == "broken"
    assert look(b"secret.gpg", os.urandom(4096)) == "opaque"
    assert look(b"x.jpg", os.urandom(100)) == "small"


@pytest.mark.parametrize("size", [256, 300, 512, 1000, 4096])
def test_random_data_of_any_length_is_known_as_such(size: int) -> None:
    assert sum(is_random(os.urandom(size)) for _ in range(200)) > 190


@pytest.mark.parametrize("name", ["notes.txt", "grades.csv", "no extension"])
def test_text_is_never_random(name: str) -> None:
    assert not any(is_random(REAL[name][:size]) for size in (256, 300, 512, 1000, 4096))
    assert not is_random(os.urandom(2048).hex().encode()), "hexadecimal is not: a dump's compression tells it"


def test_encrypted_rows_compress_less_even_as_hexadecimal() -> None:
    rows = REAL["grades.csv"]
    assert packed(rows) < 0.35
    assert packed(cipher(rows).hex().encode()) > 0.55


@given(some.binary(max_size=3000))
def test_entropy_is_between_nothing_and_eight_bits(block: bytes) -> None:
    assert 0 <= entropy(block) <= 8


def test_extensions_and_heads_in_words() -> None:
    assert [extension(name) for name in (b"a/b.JPG", b"a.b/c", b".bashrc", b"x.tar.gz")] == ["jpg", "", "", "gz"]
    assert head_of(b"PGDMP" + bytes(100)) == "a PostgreSQL archive"
    assert head_of(b"-- MariaDB dump\n" * 99) == "text"
    assert head_of(os.urandom(4096)) == "encrypted"


def test_a_ransom_note_speaks_as_such() -> None:
    assert threatens(b"ALL YOUR FILES are ENCRYPTED. To decrypt them, send Bitcoin to ...")
    assert not threatens(b"Welcome to our department. Please read the rules of the house.")

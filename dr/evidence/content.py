"""What bytes look like: how random they are, and whether they begin as their file's name says. Pure.

Compressed and encrypted data have the same entropy. So a type that is compressed by nature (jpg, docx, pdf) is told
by its beginning alone, and entropy judges the rest. Signatures are those of the `file` program's magic database.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import Literal

#: `named`: as its name says. `known`: another known type. `plain`: not random. `encrypted`: random, and no known type.
#: `broken`: not random, and not what its name says. `opaque`: random by nature. `small`: too short to tell.
Look = Literal["named", "known", "plain", "encrypted", "broken", "opaque", "small"]

HEAD = 4096  # bytes of a sample
_LEAST = 256
_FEW_VALUES = 110  # of the 256 that a byte can have: random data of 256 bytes has about 162

_ZIP, _OLE, _FTYP = (0, b"PK"), (0, b"\xd0\xcf\x11\xe0"), (4, b"ftyp")
_RIFF, _TIFF = (0, b"RIFF"), ((0, b"II*\0"), (0, b"MM\0*"))
_MEDIA = (_FTYP, (4, b"moov"), (4, b"mdat"), (4, b"free"), (4, b"wide"), (4, b"skip"))
#: Extension -> what such a file begins with: offset and bytes.
_TYPES: dict[str, tuple[tuple[int, bytes], ...]] = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), ((0, b"\xff\xd8\xff"),)),
    **dict.fromkeys(("docx", "xlsx", "pptx", "docm", "xlsm", "pptm", "dotx", "xltx", "odt", "ods", "odp", "odg", "epub",
                     "zip", "jar", "apk", "kmz", "vsdx", "3mf", "xlsb"), (_ZIP, _OLE)),
    **dict.fromkeys(("doc", "xls", "ppt", "msg", "msi", "mpp", "vsd", "pub"), (_OLE, _ZIP, (0, b"{\\rtf"))),
    **dict.fromkeys(("mp4", "m4a", "m4v", "mov", "3gp", "heic", "heif", "avif"), _MEDIA),
    **dict.fromkeys(("tif", "tiff", "nef", "dng", "cr2", "arw"), _TIFF),
    **dict.fromkeys(("webp", "wav", "avi"), (_RIFF,)),
    **dict.fromkeys(("mkv", "webm"), ((0, b"\x1a\x45\xdf\xa3"),)),
    **dict.fromkeys(("sqlite", "sqlite3", "gpkg"), ((0, b"SQLite format 3\0"),)),
    **dict.fromkeys(("gz", "tgz"), ((0, b"\x1f\x8b"),)),
    "png": ((0, b"\x89PNG"),), "gif": ((0, b"GIF8"),), "pdf": ((0, b"%PDF"),), "psd": ((0, b"8BPS"),),
    "ai": ((0, b"%PDF"), (0, b"%!PS")), "eps": ((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6")),
    "bz2": ((0, b"BZh"),), "xz": ((0, b"\xfd7zXZ"),), "7z": ((0, b"7z\xbc\xaf"),), "rar": ((0, b"Rar!"),),
    "zst": ((0, b"\x28\xb5\x2f\xfd"),), "tar": ((257, b"ustar"),), "cab": ((0, b"MSCF"),), "flac": ((0, b"fLaC"),),
    "ogg": ((0, b"OggS"),), "mp3": ((0, b"ID3"), (0, b"\xff\xfb"), (0, b"\xff\xf3"), (0, b"\xff\xf2")),
    "pst": ((0, b"!BDN"),), "ost": ((0, b"!BDN"),), "mdb": ((4, b"Standard"),), "accdb": ((4, b"Standard"),),
    "kdbx": ((0, b"\x03\xd9\xa2\x9a"),), "dcm": ((128, b"DICM"),), "dwg": ((0, b"AC10"),), "rtf": ((0, b"{\\rtf"),),
    "exe": ((0, b"MZ"),), "dll": ((0, b"MZ"),), "parquet": ((0, b"PAR1"),), "woff": ((0, b"wOFF"),),
    "woff2": ((0, b"wOF2"),), "bmp": ((0, b"BM"),), "vmdk": ((0, b"KDMV"), (0, b"# Di")), "qcow2": ((0, b"QFI\xfb"),),
}  # fmt: skip
#: Found at the start of anything, whatever its name: long enough that chance does not make them.
_SIGNATURES = {mark for marks in _TYPES.values() for mark in marks if len(mark[1]) >= 3} | {
    (0, b"PK\x03\x04"), (0, b"PK\x05\x06"), (0, b"PK\x07\x08"), (0, b"\x1f\x8b\x08"), (0, b"PGDMP"), (0, b"\x7fELF"),
    (0, b"\x89HDF"), (0, b"conectix"), (0, b"LUKS\xba\xbe"), (0, b"-----BEGIN"), (0, b"age-encryption.org/"),
    (0, b"Salted__"), (0, b"<?xml"), (0, b"\xca\xfe\xba\xbe"),
}  # fmt: skip
#: Random by nature, without a signature.
_OPAQUE = frozenset((
    "gpg", "pgp", "asc", "age", "enc", "aes", "p7m", "vc", "hc", "tc", "bin", "dat", "data", "img", "raw", "key",
    "blob", "pack", "br", "lz4", "snappy", "lzma", "z", "npy", "npz", "idx", "cache",
))  # fmt: skip
_THREATS = (
    b"encrypt", b"decrypt", b"bitcoin", b"monero", b".onion", b"tor browser", b"ransom", b"restore your files",
    b"recover your files", b"private key", b"your files", b"your network", b"deadline", b"leak",
)  # fmt: skip


def entropy(block: bytes) -> float:
    """Return the Shannon entropy of a block, in bits a byte: 0 to 8; 0 of nothing."""
    size = len(block)
    return max(0.0, -sum(n / size * math.log2(n / size) for n in Counter(block).values())) if size else 0.0


def is_random(block: bytes) -> bool:
    """Whether a block of at least 256 bytes has the entropy of encrypted data of its length.

    Few bytes cannot fill all 256 values, so that the entropy expected of random data is below 8 bits by
    255 / (2 n ln 2) (Miller, 1955); what falls short of that by more than chance does is not random.
    """
    size = len(block)
    if size < _LEAST or len(set(block)) < _FEW_VALUES:  # the second spares texts the counting
        return False
    return entropy(block) >= 8 - 255 / (2 * size * math.log(2)) - 0.1 - 40 / size


def packed(block: bytes) -> float:
    """Return what is left of a block when compressed (deflate), 0 to about 1."""
    return len(zlib.compress(block, 1)) / len(block) if block else 0.0


def extension(name: bytes) -> str:
    """Return a file name's extension, lower case, without the dot; "" when it has none."""
    stem, dot, last = name.rpartition(b"/")[2].rpartition(b".")
    return last.decode("ascii", "replace").lower() if dot and stem and len(last) <= 16 else ""


def is_type(ending: str) -> bool:
    """Whether an extension is one of a known type, or of data that is random by nature."""
    return ending in _TYPES or ending in _OPAQUE


def look(name: bytes, head: bytes, middle: bytes = b"") -> Look:
    """Return what a file looks like by its first bytes, and some from its middle where it is longer."""
    ending = extension(name)
    expected = _TYPES.get(ending, ())
    if _begins(head, expected):
        return "named"
    if _begins(head, _SIGNATURES):
        return "known"
    if len(head) < _LEAST:
        return "small"
    if is_random(head) or (not expected and is_random(middle)):
        return "opaque" if ending in _OPAQUE else "encrypted"
    return "broken" if expected else "plain"


def head_of(head: bytes) -> str:
    """Return in a word what a dump begins like."""
    names = ((b"SQLite format 3\0", "an SQLite database"), (b"PGDMP", "a PostgreSQL archive"), (b"PK", "a zip archive"),
             (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))  # fmt: skip
    for mark, name in names:
        if head.startswith(mark):
            return name
    return "encrypted" if is_random(head) else "text" if _is_text(head) else "data"


def threatens(text: bytes) -> bool:
    """Whether a text speaks as ransom notes do: several of their words."""
    lower = text.lower()
    return sum(word in lower for word in _THREATS) >= 3


def _begins(head: bytes, marks: tuple[tuple[int, bytes], ...] | set[tuple[int, bytes]]) -> bool:
    return any(head.startswith(mark, offset) for offset, mark in marks)


def _is_text(head: bytes) -> bool:
    return b"\0" not in head[:1024]

"""A recovery kit as files: written whole or not at all, and read again with every checksum compared.

`OUT/kit` is what is copied to where a fire would not find it; it opens nothing. `OUT/shares` holds one page and one
text for each custodian, and is to be emptied by handing them out. `kit.json` describes the kit and holds no secret.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from dr.errors import DamageError, DrError, RefusedError, UsageError
from dr.late_dataclass import dataclass
from dr.run.keys import host_keys
from dr.tools import age, shares
from dr.tools.secrets import write_private
from dr.tools.shares import Share

DESCRIPTION = "kit.json"
SUMS = "SHA256SUMS"
SELF_COPY = "sealed/self-copy.age"
ESCROW = "sealed/escrow"
KIT, SHARES = "kit", "shares"


@dataclass(frozen=True, kw_only=True)
class System:
    """One system of a kit: its plan's file and digest, and its targets."""

    system: str
    title: str
    plan: str
    digest: str
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a kit says of itself. `share_set` is the set its shares belong to; `targets` maps name to file digest."""

    kit_id: str
    made: datetime
    threshold: int
    custodians: tuple[str, ...]
    share_set: int
    recipient: str
    self_copy: str
    systems: tuple[System, ...]
    targets: Mapping[str, str]
    versions: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Return `kit.json`."""
        body = {"schema": 1, **dataclasses.asdict(self), "made": self.made.isoformat()}
        return json.dumps(body, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Kit:
        """Return the kit described; raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        body: dict[str, Any] = json.loads(data)
        known = {each.name for each in dataclasses.fields(cls)}
        parts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in body.items() if key in known
        }
        systems = tuple(System(**{**each, "targets": tuple(each["targets"])}) for each in body["systems"])
        parts |= {"made": datetime.fromisoformat(body["made"]), "systems": systems}
        return cls(**parts)


@dataclass(frozen=True)
class KitFolder:
    """A kit in a directory."""

    path: Path
    kit: Kit

    def read(self, name: str) -> bytes:
        """Return one of its files; `DamageError` when it is not there."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DamageError(
                f"the kit's {name} cannot be read", str(self.path), error.strerror or "", hint="use another copy of it"
            ) from None

    def damage(self) -> list[str]:
        """Return what in the kit is not as it was written, in words."""
        found = []
        for line in self.read(SUMS).decode("utf-8", "replace").splitlines():
            digest, _, name = line.partition("  ")
            try:
                whole = hashlib.sha256((self.path / name).read_bytes()).hexdigest() == digest
            except OSError:
                found.append(f"{name} is missing")
                continue
            found += [] if whole else [f"{name} was altered"]
        return found

    @property
    def escrow(self) -> dict[str, bytes]:
        """The sealed escrow passphrases, by `SYSTEM@TARGET`."""
        return {path.stem: path.read_bytes() for path in sorted((self.path / ESCROW).glob("*.age"))}

    @property
    def shares_beside(self) -> list[Path]:
        """The share files that still lie beside the kit."""
        return sorted((self.path.parent / SHARES).glob("share-*")) if self.path.name == KIT else []


def find_kit(path: Path) -> KitFolder:
    """Return the kit in a directory, or in `kit` below it; `UsageError` when there is none."""
    for place in (path, path / KIT):
        try:
            return KitFolder(place, Kit.from_json((place / DESCRIPTION).read_bytes()))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamageError(
                f"the kit's {DESCRIPTION} cannot be used", str(place), type(error).__name__, hint="use another copy"
            ) from None
    raise UsageError("there is no recovery kit here", str(path), hint=f"name the directory that holds {DESCRIPTION}")


def read_shares(paths: Sequence[Path]) -> list[Share]:
    """Return the shares in some text files. `UsageError` or `RefusedError` says which file is wrong, and how."""
    found = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                "the share cannot be read", str(path), error.strerror or "", hint="name the custodian's text file"
            ) from None
        if data.startswith(b"%PDF"):
            raise UsageError(
                "this is a page to print", str(path), hint="name the text file, or type its 33 words into one"
            )
        found.append(shares.parse(data.decode("utf-8", "replace"), str(path)))
    return found


def identity_of(kit: Kit, given: Sequence[Share]) -> str:
    """Return the identity that custodians' shares give; `RefusedError` when they are too few, or of another kit."""
    strange = [share for share in given if share.set_id != kit.share_set]
    if strange:
        raise RefusedError(
            f"{len(strange)} of the {len(given)} shares given belong to another kit than {kit.kit_id}",
            hint="bring the shares of this kit: its id is on their page; or open the other kit",
        )
    secret = shares.combine(given)
    if age.recipient_of(secret) != kit.recipient:
        raise RefusedError("the shares give another secret than the kit's", kit.kit_id, hint="use another copy of it")
    return secret


def checksums(files: Mapping[str, bytes]) -> bytes:
    """Return the list of checksums, as `sha256sum -c` reads it."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())).encode()


def beside(out: Path) -> Path:
    """Return where a kit is while it is being written."""
    return out.with_name(f".{out.name}.unfinished")


def write_out(out: Path, kit: Mapping[str, bytes], pages: Mapping[str, bytes]) -> None:
    """Write the kit and the custodians' pages below `out`, lastingly, and only then give it its name.

    `out` must not be there, or be empty. What an earlier attempt left half made is removed. Raises `DrError`.
    """
    coming = beside(out)
    try:
        shutil.rmtree(coming, ignore_errors=True)
        coming.mkdir(mode=0o700, parents=True)
        for folder, files in ((KIT, kit), (SHARES, pages)):
            for name, data in files.items():
                path = coming / folder / PurePosixPath(name)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(path, data)
        for directory, _, _ in os.walk(coming, topdown=False):
            host_keys.settle(Path(directory))
        if out.exists():
            out.rmdir()
        coming.rename(out)
        host_keys.settle(out.parent)
    except OSError as error:
        shutil.rmtree(coming, ignore_errors=True)
        raise DrError(
            "the kit cannot be written", str(out), error.strerror or "", hint="see the rights and the free space"
        ) from error


def is_free(out: Path) -> bool:
    """Whether a kit may be written to this place: it is not there, or an empty directory."""
    return not out.exists() or (out.is_dir() and not any(out.iterdir()))

"""What lies beside the declarations and is not read: a plan under another name is a system that nobody backs up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dr.errors import Fault
from dr.late_dataclass import dataclass

ENDINGS = (".yaml", ".yml")
#: What there is one of, beside the folders.
SINGLE = ("kit", "site")
FOLDERS = ("plans", "targets")
#: What holds for all of a configuration directory.
SITE = "site.yaml"
#: Read by nobody, and no plan of anybody.
_HARMLESS = re.compile(r"readme(\..*)?|\.git(ignore|keep|attributes)?|\.keep|lost\+found|__pycache__", re.IGNORECASE)
#: What people take for `plans`, `targets`, `kit.yaml` and `site.yaml`.
_NEARLY = re.compile(r"\.?(?:(?P<folder>plan|target)s?|(?P<single>kit|site)s?\.ya?ml\S*)", re.IGNORECASE)


@dataclass(frozen=True)
class Folder:
    """A directory of declarations: the files to read, what is passed over, and why it cannot be read itself."""

    files: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()


def look_in(folder: Path) -> Folder:
    """Return what a directory of declarations holds; nothing when it is not there. Raises nothing."""
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return Folder()
    except OSError as error:
        what = f"the directory cannot be read: {error.strerror or error}"
        return Folder(faults=(Fault(str(folder), 1, 1, what, "see the directory and its rights"),))
    files = tuple(path for path in found if path.suffix in ENDINGS and path.name[0] != ".")
    read = set(files)
    others = tuple(path for path in found if path not in read and not _HARMLESS.fullmatch(path.name))
    return Folder(files, others)


def unread(config: Path, others: Iterable[Path], used: Iterable[Any]) -> Iterator[Fault]:
    """Yield a fault for each thing that is not read.

    But not for what a plan names with its path, such as the program of a check: `used` are the plans' data.
    """
    known = {path for data in used for path in _paths(data, config)}
    for path in others:
        if not any(each == path or path in each.parents for each in known):
            yield _fault(path)
    yield from _beside(config)


def _paths(data: Any, config: Path) -> Iterator[Path]:
    """Yield where each text of a plan could point: a relative one begins at the plans, or above."""
    if isinstance(data, dict):
        yield from (path for value in data.values() for path in _paths(value, config))
    elif isinstance(data, list | tuple):
        yield from (path for value in data for path in _paths(value, config))
    elif isinstance(data, str | Path) and "/" in str(data) and "\n" not in str(data):
        yield from (Path(os.path.normpath(base / str(data))) for base in (config, config / "plans"))


def _fault(path: Path) -> Fault:
    kind = "plan" if path.parent.name == "plans" else "target"
    if path.is_dir() and not path.is_symlink():
        hint = f"move its {kind}s up into {path.parent}, or move it elsewhere"
        return _told(path, "this directory is not read, nor what is in it", hint)
    why = "its name begins with a dot" if path.name[0] == "." else "its name does not end in .yaml or .yml"
    return _told(path, f"this file is not read: {why}", _rename(path, kind))


def _rename(path: Path, kind: str) -> str:
    stem = re.split(r"\.ya?ml|\.", path.name.strip(".~"), maxsplit=1, flags=re.IGNORECASE)[0]
    named = path.with_name(f"{stem or kind}.yaml")
    there = os.path.lexists(named)
    return f"move it elsewhere, since {named.name} is there" if there else f"name it {named.name}, or move it elsewhere"


def _beside(config: Path) -> Iterator[Fault]:
    """Yield directories and files that were meant for plans/, targets/, kit.yaml or site.yaml, by their names."""
    try:
        found = sorted(config.iterdir())
    except OSError:
        return
    for path in found:
        if path.name in (*FOLDERS, *(f"{name}.yaml" for name in SINGLE)) or not (near := _NEARLY.fullmatch(path.name)):
            continue
        single = near["single"]
        right = f"{single.lower()}.yaml" if single else f"{near['folder'].lower()}s"
        if single or path.is_dir():
            verb = "move it elsewhere" if os.path.lexists(config / right) else f"name it {right}"
            yield _told(path, f"this is not read: its name is not {right}", verb)


def _told(path: Path, what: str, hint: str) -> Fault:
    return Fault(str(path), 1, 1, what, hint, severity="unread")

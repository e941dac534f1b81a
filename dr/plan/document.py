"""YAML documents with the place of every key. Sole user of yaml. Everything odd becomes a `Fault`."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import yaml

from dr.errors import Fault
from dr.late_dataclass import dataclass

_LARGEST = 1 << 20
_NODES = 20_000
_TEXT, _NUMBERS = "tag:yaml.org,2002:str", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TRUTH = "tag:yaml.org,2002:bool"
_MERGE = "tag:yaml.org,2002:merge"
Place = tuple[int, int]
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A file's data, and where in it each key stands (line and column, from 1).

    `lent` are the keys that it takes over from another document, each with where it stands there.
    """

    path: Path
    text: str
    digest: str
    data: Any
    places: dict[Key, Place] = field(repr=False)
    lent: Mapping[Key, tuple[Document, Key]] = field(default_factory=dict, repr=False)

    def fault(self, key: Sequence[str | int], what: str, hint: str = "", **more: Any) -> Fault:
        """Return a fault at a key, or at the nearest of its parents that is there."""
        at = tuple(key)
        while at and at not in self.places and at not in self.lent:
            at = at[:-1]
        if at in self.lent:
            lender, there = self.lent[at]
            named = self.data.get("system")
            return replace(lender.fault(there, what, hint, **more), systems=frozenset([named] if named else ()))
        line, column = self.places.get(at, (1, 1))
        return Fault(str(self.path), line, column, what, hint, **more)


def dump(data: Any, *, inline: bool = False) -> str:
    """Return data as YAML in the order it has; `inline`: in one line, without its end."""
    width = 1_000_000 if inline else 100
    text = str(
        yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True, default_flow_style=inline, width=width)
    )
    return text.removesuffix("...\n").strip() if inline else text


class _Plain(yaml.CSafeDumper):
    """Writes what stands twice twice: no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read(path: Path) -> Document | list[Fault]:
    """Read one file; its faults when it is no usable YAML mapping."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            odd = next((name for test, name in _ODD if test(status.st_mode)), "a device")
            return [
                Fault(str(path), 1, 1, f"this is {odd}, not a file", "put a text file in its place, or move it away")
            ]
        if status.st_size > _LARGEST:
            return [Fault(str(path), 1, 1, "the file is larger than 1 MiB", "a plan is a page or two")]
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        return [Fault(str(path), 1, 1, f"the file cannot be read: {reason}", "see the file and its rights")]
    except UnicodeDecodeError:
        return [Fault(str(path), 1, 1, "the file is not UTF-8 text", "save it as UTF-8")]
    try:
        return _parse(path, text, hashlib.sha256(raw).hexdigest())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = f"this is not valid YAML: {error.problem or 'it cannot be read'}"
        return [Fault(str(path), line, column, what, _advice(text, line, column, error.problem or ""))]
    except yaml.YAMLError as error:
        return [Fault(str(path), 1, 1, f"this is not valid YAML: {' '.join(str(error).split())[:200]}", _YAML)]
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return [Fault(str(path), 1, 1, f"this cannot be used: {reason}", _YAML)]


_ODD = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
_YAML = "see the indentation, colons and quotes there; tabs are not allowed"
#: What means something to YAML where a value begins, though a person meant it as it stands.
_MEANT = "*&!%@`"


def _advice(text: str, line: int, column: int, problem: str) -> str:
    """Return what to write instead, where the place of the fault shows it."""
    rows = text.splitlines()
    row = rows[line - 1] if line <= len(rows) else ""
    if "\t" in row[: column + 1]:
        return "indent with spaces: tabs are not allowed"
    for at in (column - 1, column - 2):  # an alias without a name is noticed at the letter after it
        if 0 <= at < len(row) and row[at] in _MEANT:
            word = row[at:].split(",")[0].strip(" ]}\"'")
            return f'put text that begins with {row[at]} in quotes: "{word}"'
    if "mapping values" in problem or "expected ','" in problem:
        return "put text that holds a colon and a space, or a comma, in quotes"
    if "another document" in problem:
        return "write each plan and each target into a file of its own"
    if "end of stream" in problem:
        return "a quote or a bracket is opened and not closed"
    return _YAML


def _parse(path: Path, text: str, digest: str) -> Document | list[Fault]:
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            return [
                Fault(str(path), 1, 1, "the file does not hold keys and values", "begin with `system:` or `target:`")
            ]
        places: dict[tuple[str | int, ...], Place] = {}
        faults: list[Fault] = []
        _Walk(path, places, faults).visit(node, ())
        if faults:
            return faults
        return Document(path, text, digest, loader.construct_document(node), places)
    finally:
        loader.dispose()


@dataclass
class _Walk:
    """Notes places, refuses duplicate keys, keys that are no text, and aliases that explode; 1:30 stays text."""

    path: Path
    places: dict[tuple[str | int, ...], Place]
    faults: list[Fault]
    count: int = 0

    def visit(self, node: yaml.Node, at: tuple[str | int, ...]) -> None:
        self.count += 1
        if self.count > _NODES or len(at) > 50:
            raise ValueError("it is too large or too deeply nested")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._pair(key, value, at)
        elif isinstance(node, yaml.ScalarNode) and ":" in node.value and node.tag in _NUMBERS:
            node.tag = _TEXT  # YAML 1.1 counts 1:30 in sixties; who writes it means an hour and a half, or a minute
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.places[(*at, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
                self.visit(item, (*at, index))

    def _pair(self, key: yaml.Node, value: yaml.Node, at: tuple[str | int, ...]) -> None:
        place = (key.start_mark.line + 1, key.start_mark.column + 1)
        if isinstance(key, yaml.ScalarNode) and key.tag == _MERGE:
            self.faults.append(Fault(str(self.path), *place, "merge keys (<<) are not read", "write the keys out"))
            return
        if isinstance(key, yaml.ScalarNode) and key.tag == _TRUTH:
            key.tag = _TEXT  # YAML 1.1 reads the key `on` as true
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            self.faults.append(Fault(str(self.path), *place, f"the key {shown} is not text", "put it in quotes"))
            return
        name = (*at, key.value)
        if name in self.places:
            first = self.places[name][0]
            self.faults.append(
                Fault(str(self.path), *place, f"the key {key.value!r} stands twice; first in line {first}", "keep one")
            )
        self.places[name] = place
        self.visit(value, name)

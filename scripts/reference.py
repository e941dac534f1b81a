"""Write docs/reference.md: every key of all that is declared, from the schemas that `dr schema` prints."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dr.plan.schema import schema

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
#: Of each kind of file: what it is, and where it is.
HEADS = {
    "plan": ("A plan", "plans/*.yaml"),
    "target": ("A target", "targets/*.yaml"),
    "kit": ("The custodians of the recovery kit", "kit.yaml"),
    "site": ("The whole site", "site.yaml"),
}
#: Where a description ends with what an absent key means.
_DEFAULT = re.compile(r"\s*Default: (?P<default>.+)\.$", re.DOTALL)
INTRODUCTION = """\
# Every key

What may be written into plans, targets, `kit.yaml` and `site.yaml`. The same is in the JSON Schemas, for editors that
complete and check while you type (`dr schema plan`, `dr schema target`, `dr schema kit`, `dr schema site`), and in the
manual page dr-plan(5). This page is made from them by `make reference`.
"""
RULES = """\
Unknown keys are refused. A duration is written as `90s`, `15m`, `2h`, `1d`, `1w` or `1h30m`, or as a number of
seconds; a relative path begins at the configuration directory, which holds `plans/` and `targets/`.
"""


@dataclass(frozen=True)
class Key:
    """One key: what it does, what it is when it is absent ("required": it may not be), and a line as people write it.

    `part` is the part that it opens, where it opens one.
    """

    name: str
    what: str
    default: str
    example: str
    part: str = ""


@dataclass(frozen=True)
class Part:
    """One part of a document: where it may stand (the first place is its title), what it is, and its keys."""

    places: tuple[str, ...]
    about: str
    keys: tuple[Key, ...]


def parts(kind: str) -> list[Part]:
    """Return the parts of a plan, a target, `kit.yaml` or `site.yaml`, each before those inside it."""
    whole = schema(kind)
    definitions = {"": whole, **whole.get("$defs", {})}
    visits = list(_visits("", "", definitions, set()))
    places: dict[str, list[str]] = {}
    for place, name in visits:
        places.setdefault(name, []).append(place)
    for found in places.values():
        found.sort(key=lambda place: place.count(".") + place.count("["))  # the plainest place first
    return [_part(definitions[name], tuple(places[name]), places) for at, name in visits if at == places[name][0]]


def _visits(name: str, place: str, definitions: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each place of each part, with the part's name in the schema; what is inside it, once."""
    yield place, name
    if name in seen:
        return
    seen.add(name)
    for key, told in _properties(definitions[name]):
        for suffix, inner in _opened(told):
            yield from _visits(inner, f"{place}.{key}{suffix}".lstrip("."), definitions, seen)


def _properties(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for form in definition.get("anyOf", [definition]):
        yield from form.get("properties", {}).items()


def _opened(told: dict[str, Any], suffix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parts that a key opens, each with what follows the key in its place."""
    if "$ref" in told:
        yield suffix, told["$ref"].rpartition("/")[2]
    for form in told.get("anyOf", ()):
        yield from _opened(form, suffix)
    if isinstance(told.get("items"), dict):
        yield from _opened(told["items"], f"{suffix}[]")
    for form in told.get("patternProperties", {}).values():
        yield from _opened(form, f"{suffix}.NAME")


def _part(definition: dict[str, Any], found: tuple[str, ...], places: dict[str, list[str]]) -> Part:
    form = definition.get("anyOf", [definition])[-1]
    required = form.get("required", [])
    keys = [_key(name, told, places, required=name in required) for name, told in _properties(definition)]
    about = " ".join(form.get("description", "").split())
    return Part(found, about, tuple(keys))


def _key(name: str, told: dict[str, Any], places: dict[str, list[str]], *, required: bool) -> Key:
    what, values = told["description"], _values(told)
    stated = _DEFAULT.search(what)
    default = "required" if required else stated["default"] if stated else f"`{written(told['default'])}`"
    what = _DEFAULT.sub("", what)
    if any(f"`{value}`" not in what for value in values if not isinstance(value, bool)):
        what += f" One of {', '.join(f'`{value}`' for value in values)}."
    example = told["examples"][0] if told.get("examples") else _other(values, default)
    opened = next((places[inner][0] for _, inner in _opened(told)), "")
    return Key(name, what, default, f"{name}: {written(example)}", opened)


def _values(told: dict[str, Any]) -> list[Any]:
    """Return the values that a key may have, where they are few."""
    for form in told.get("anyOf", [told]):
        if "enum" in form:
            return list(form["enum"])
        if form.get("type") == "boolean" and not told.get("examples"):
            return [True, False]
    return []


def _other(values: list[Any], default: str) -> Any:
    """Return the first value that is not the default."""
    return next(value for value in values if written(value) != default.strip("`"))


def written(value: Any) -> str:
    """Return a value as people write it into YAML, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=100_000)
    return text.removesuffix("...\n").strip()


def page() -> str:
    """Return the page."""
    lines = [INTRODUCTION, RULES]
    for kind, (what, where) in HEADS.items():
        lines += [f"## {what}: `{where}`\n", *(line for part in parts(kind) for line in _section(part))]
    return "\n".join(lines)


def _section(part: Part) -> Iterator[str]:
    if title := part.places[0]:
        yield f"### {title}\n"
    more = ", ".join(f"`{place}`" for place in part.places[1:])
    yield f"{part.about}{f' Also at {more}.' if more else ''}\n"
    yield "| key | what it does | default | example |\n|---|---|---|---|"
    for key in part.keys:
        name = f"[`{key.name}`](#{_anchor(key.part)})" if key.part else f"`{key.name}`"
        cells = (name, key.what, key.default, f"`{key.example}`")
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _anchor(title: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^a-z0-9_-]", "", title.lower())


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    parser.parse_args().output.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()

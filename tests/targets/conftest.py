"""What tests of targets share: a place of each kind, and the program with the toy kind in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dr.plan import target
from dr.targets import kinds
from tests.conftest import Site
from tests.targets.places import Place, every_kind, make
from tests.targets.toy import make_known


@pytest.fixture(autouse=True)
def _toy_is_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In these tests alone: elsewhere the kinds are those that come with the program."""
    monkeypatch.setattr(target, "KINDS", dict(target.KINDS))
    monkeypatch.setattr(kinds, "_DRIVERS", dict(kinds._DRIVERS))
    make_known()
    yield
    target.target_model.cache_clear()


@pytest.fixture(params=every_kind())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind in turn."""
    return make(request.param, request, tmp_path)


@pytest.fixture
def kinds_site(site: Site) -> Site:
    """A site whose program knows the toy kind too, with one system of files."""
    source = site.root / "source"
    source.mkdir()
    for number in range(4):
        (source / f"{number}.txt").write_text(f"{number}\n" * 10_000)
    return replace(site, also=("tests.targets.known",))

"""Where a first plan goes: never beside the configuration that is in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import UsageError
from dr.plan import declarations
from dr.plan.first import place_of_first
from tests.conftest import Site


@pytest.fixture
def of_machine(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "plans").mkdir(parents=True)
    (tmp_path / "etc" / "plans" / "sis.yaml").write_text("system: sis\n")
    return tmp_path / "etc"


def test_a_first_plan_does_not_hide_those_of_the_machine(
    of_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(declarations, "OF_MACHINE", of_machine)
    assert declarations.find_config(None, {}) == of_machine
    with pytest.raises(UsageError, match="the configuration in use is") as caught:
        place_of_first(None, here=here, of_machine=of_machine)
    assert "`dr --config . init`" in caught.value.hint
    assert place_of_first(".", here=here, of_machine=of_machine) == here
    (of_machine / "plans" / "sis.yaml").unlink()
    assert place_of_first(None, here=here, of_machine=of_machine) == here
    (here / "plans").mkdir()
    (of_machine / "plans" / "sis.yaml").write_text("system: sis\n")
    assert place_of_first(None, here=here, of_machine=of_machine) == here == declarations.find_config(None, {})


def test_it_says_where_it_wrote(site: Site) -> None:
    (site.root / "new").mkdir()
    for arguments, env in ((("--config", "new"), {}), ((), {"DR_CONFIG": "other"})):
        ran = site.forker.run([*arguments, "init"], env={**site.env, **env}, cwd=site.root)
        place = site.root / (env.get("DR_CONFIG") or "new")
        assert ran[0] == 0 and f"wrote {place}/plans/first.yaml\n" in ran[1], ran

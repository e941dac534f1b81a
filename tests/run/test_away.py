"""What its own host stores: on the first target that it reaches, and from there on the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError, SourceError, TargetDownError
from dr.plan.target import Target
from dr.run.backup.agent_capture import store_away
from dr.run.backup.stored_manifest import StoredManifest
from dr.run.workspace.toolbox import Place
from dr.sources.driver import MANIFEST, AgentCapture, Sent
from dr.tools.disk import DiskStore
from dr.tools.restic import Repository

TAGS = {"run": "run-1", "source": "docs", "form": "agent"}


@dataclass
class Sender(AgentCapture):
    """A host that reaches some targets only; what it stores it stores from here."""

    work: Path
    host = "root@far"
    trouble: Mapping[str, DrError] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        if error := self.trouble.get(repository.where):
            raise error
        (self.work / "data").write_text("data")
        (self.work / MANIFEST).write_text("listed")
        stored = repository.backup_tree(("data",), cwd=self.work, tags=tags)
        return Sent(stored=stored, files=1, bytes=4, unreadable=self.unreadable)


@pytest.fixture
def places(tmp_path: Path, restic_program: str) -> dict[str, Place]:
    """A disk here, and two targets that another host reaches, if need be on disks of our own."""
    return {name: place(tmp_path, name, restic_program) for name in ("disk", "one", "two")}


def place(root: Path, name: str, program: str) -> Place:
    where = {"local": {"path": str(root / name)}} if name == "disk" else {"s3": {"bucket": "bucket", "prefix": name}}
    target = Target.model_validate({"target": name, **where})
    repository = Repository(
        program=program, location=str(root / name), where=name, host="sis",
        env={"RESTIC_PASSWORD": f"secret of {name}"}, cache=root / "cache",
    )  # fmt: skip
    repository.init()
    return Place(name, target, repository, DiskStore(root / name), DiskStore(root / f"{name}-evidence"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "docs").mkdir(parents=True)
    return tmp_path / "work" / "docs"


def parts_of(work: Path) -> StoredManifest:
    return StoredManifest("docs", reuse=work.parent / "reuse", work=work)


def parts(place: Place) -> dict[str, str]:
    return {snapshot.tags["part"]: snapshot.id for snapshot in place.repository.snapshots()}


def test_it_reaches_every_target_with_its_manifest(places: dict[str, Place], work: Path) -> None:
    landed = store_away(Sender(work), places, TAGS, work=work, parts=parts_of(work))
    assert landed.giver == "one" and not landed.lost
    for name, place in places.items():
        assert parts(place) == {"data": landed.snapshots[name], "manifest": landed.manifests[name]}
        assert place.repository.dump(landed.manifests[name], f"/{MANIFEST}") == b"listed"


@pytest.mark.parametrize(("unreadable", "whole"), [((), "yes"), (("/a",), "no")])
def test_the_manifest_says_whether_all_of_it_was_read(
    places: dict[str, Place], work: Path, unreadable: tuple[str, ...], whole: str
) -> None:
    store_away(Sender(work, unreadable=unreadable), {"one": places["one"]}, TAGS, work=work, parts=parts_of(work))
    (tags,) = [s.tags for s in places["one"].repository.snapshots() if s.tags["part"] == "manifest"]
    assert (tags["whole"], tags["form"]) == (whole, "agent")


def test_a_target_that_the_host_does_not_reach_gets_a_copy_from_one_that_it_does(
    places: dict[str, Place], work: Path
) -> None:
    trouble = {"one": TargetDownError("it does not answer that host", "one", hint="see")}
    landed = store_away(Sender(work, trouble=trouble), places, TAGS, work=work, parts=parts_of(work))
    assert landed.giver == "two" and set(landed.snapshots) == {"disk", "one", "two"} and not landed.lost


def test_a_host_that_reaches_no_target_has_not_captured_it(places: dict[str, Place], work: Path) -> None:
    down = TargetDownError("it does not answer that host", "one", hint="see", retryable=True)
    trouble = {"one": down, "two": RefusedError("no", "two", hint="see")}
    with pytest.raises(SourceError, match="root@far reaches no target: it does not answer") as caught:
        store_away(Sender(work, trouble=trouble), places, TAGS, work=work, parts=parts_of(work))
    assert caught.value.retryable
    with pytest.raises(SourceError, match="no target is ready that root@far can reach") as caught:
        store_away(Sender(work), {"disk": places["disk"]}, TAGS, work=work, parts=parts_of(work))
    assert "mode: stream" in caught.value.hint
    assert all(parts(place) == {} for place in places.values())


def test_a_source_that_fails_is_not_tried_on_another_target(places: dict[str, Place], work: Path) -> None:
    trouble = {"one": SourceError("the command failed", "docs", hint="see")}
    with pytest.raises(SourceError, match="the command failed"):
        store_away(Sender(work, trouble=trouble), places, TAGS, work=work, parts=parts_of(work))
    assert all(parts(place) == {} for place in places.values())


def test_without_its_manifest_it_is_on_no_target(places: dict[str, Place], work: Path, tmp_path: Path) -> None:
    class Breaking(Sender):
        def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
            sent = super().send(repository, tags)
            (tmp_path / "one" / "config").unlink()
            return sent

    landed = store_away(Breaking(work), places, TAGS, work=work, parts=parts_of(work))
    assert landed.snapshots == {} and set(landed.lost) == {"one"}
    assert parts(places["two"]) == parts(places["disk"]) == {}


def test_a_target_that_cannot_take_the_copy_is_lost_alone(places: dict[str, Place], work: Path, tmp_path: Path) -> None:
    (tmp_path / "two" / "config").unlink()
    landed = store_away(Sender(work), places, TAGS, work=work, parts=parts_of(work))
    assert set(landed.snapshots) == {"disk", "one"} and set(landed.lost) == {"two"}

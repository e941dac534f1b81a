"""Whatever goes wrong is on record with its reason, is that system's own failure, and says what to do about it."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dr.operations.backup
import dr.operations.drill
import dr.operations.scenarios
import dr.operations.update_replica
import dr.operations.verify
from dr.errors import DEGRADED, FAILED, DrError, Fault, MachineError, as_error, every_error
from dr.evidence.record import BackupRun
from dr.operations.backup import backup
from dr.operations.drill import drill, recover
from dr.operations.replicate import replicate_all
from dr.operations.run_due import run_due
from dr.operations.verify import verify_all
from dr.plan.declarations import Loaded
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from tests.conftest import Site, plan_text

FULL = OSError(errno.ENOSPC, "No space left on device", "/var/lib/dr/work/secret.odt")
Act = Callable[[Session, list[Loaded]], Any]

VERBS: dict[str, tuple[Any, str, Act]] = {
    "backup": (dr.operations.backup, "run_backup", backup),
    "verify": (dr.operations.verify, "verify", lambda s, items: verify_all(s, items, level=1)),
    "replicate": (dr.operations.update_replica, "replicate", replicate_all),
    "drill": (dr.operations.scenarios, "run_drill", lambda s, items: drill(s, items, RecoveryRequest())),
    "recovery": (
        dr.operations.drill,
        "run_recover",
        lambda s, items: [recover(s, items[0], RecoveryRequest(to=s.state.path.parent / "out"))],
    ),
}


@pytest.fixture
def site(files_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A system with a replica, backed up."""
    monkeypatch.setenv("DR_RESTIC", files_site.env["DR_RESTIC"])
    source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    files_site.plan("share", plan_text("share", source, targets="[disk]", more="replicas: [vault]\n"))
    files_site.dr("backup", "share")
    return files_site


def fresh(site: Site) -> Session:
    return site.session()


def raising(error: Exception) -> Callable[..., Any]:
    """What cannot be provoked: an error in the middle of the work."""

    def act(*args: Any, **kwargs: Any) -> Any:
        raise error

    return act


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (
            FULL,
            ": no space left on device",
            "free some space, then try again; run again with -v to see which file it is",
        ),
        (TypeError("secret"), "a fault in this program (TypeError", "run again with -v, and report what it says"),
        (DrError("it is locked up", hint="grant it"), "it is locked up", "grant it"),
    ],
    ids=["full disk", "fault", "refused"],
)
def test_an_error_in_the_midst_of_a_run_is_its_failure_with_reason_and_hint(
    verb: str, error: Exception, said: str, hint: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, act = VERBS[verb]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, raising(error))
        session = fresh(site)
        results = act(session, session.chosen(["share"]))
    assert results[0].exit_code == FAILED
    fact = session.catalog.facts((verb,), systems=["share"])[-1].fact
    assert fact.outcome == "failed"
    assert said in (fact.error or ""), "and not what a fault says, nor which file it was"  # type: ignore[union-attr]
    assert "secret" not in (fact.error or "")  # type: ignore[union-attr]
    assert fact.error_hint == hint  # type: ignore[union-attr]
    assert session.catalog.open_runs("share") == [], "nothing is left to be called interrupted later"
    session.close()


def two_systems(site: Site) -> None:
    site.plan("other", plan_text("other", f"docs: {{files: {{paths: [{site.root}/source]}}}}"))


def fail_for(system: str, act: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    def some(toolbox: Any, *args: Any, **kwargs: Any) -> Any:
        if toolbox.plan.system == system:
            raise error
        return act(toolbox, *args, **kwargs)

    return some


def test_a_fault_of_one_system_hides_no_others_result(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    two_systems(site)
    real = dr.operations.backup.run_backup
    monkeypatch.setattr(dr.operations.backup, "run_backup", fail_for("other", real, TypeError("x")))
    session = fresh(site)
    results = backup(session, session.chosen((), everything=True))
    assert {result.record.system: result.record.outcome for result in results} == {"other": "failed", "share": "ok"}
    session.close()


def test_what_fails_outside_of_a_run_is_a_problem_of_its_system_beside_the_others_results(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_systems(site)
    session = fresh(site)
    begin = session.begin

    def begun(loaded: Loaded, *args: Any, **kwargs: Any) -> None:
        if loaded.plan.system == "other":
            raise FULL
        begin(loaded, *args, **kwargs)

    monkeypatch.setattr(session, "begin", begun)
    results = backup(session, session.chosen((), everything=True))
    assert [result.record.system for result in results] == ["share"]
    assert [(p.where, p.exit_code) for p in session.problems] == [("other", FAILED)]
    assert "no space left" in session.problems[0].what and session.problems[0].hint
    done = run_due(session)
    assert done.drills and {problem.where for problem in session.problems} == {"other"}
    session.close()


def test_what_stands_beside_a_backup_takes_nothing_from_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dr.operations.backup, "keep_keys", raising(FULL))
    session = fresh(site)
    [result] = backup(session, session.chosen(["share"]))
    fact = session.catalog.facts(("backup",), systems=["share"])[-1].fact
    assert isinstance(fact, BackupRun) and (fact.outcome, result.exit_code) == ("ok", 0)
    assert [(problem.where, problem.exit_code) for problem in session.problems] == [("share", DEGRADED)]
    session.close()


def test_a_fault_names_its_place_and_not_what_it_says() -> None:
    try:
        Fault("file", 1, 1, "what") < 3  # type: ignore[operator]  # noqa: B015
    except TypeError as error:
        assert as_error(error).what == "a fault in this program (TypeError)", "raised here, not in the program"
    try:
        as_error(None).what  # type: ignore[arg-type]  # noqa: B018
    except AttributeError as error:
        told = as_error(error).what
        assert told.startswith("a fault in this program (AttributeError at dr/errors.py:") and "None" not in told


@pytest.mark.parametrize(
    "command",
    [
        "backup share", "verify share", "drill share", "replicate share", "points --rebuild",
        "recover share --yes --to OUT", "keys list share", "keys rotate share --escrow",
    ],
)  # fmt: skip
@pytest.mark.parametrize("cause", ["the passphrase is missing", "the target is a file"])
def test_the_hint_of_a_cause_reaches_the_reader_whatever_the_verb(command: str, cause: str, site: Site) -> None:
    (site.root / "state" / "escrow" / "recipient").unlink()
    if cause == "the passphrase is missing":
        for path in (site.root / "state" / "secrets").iterdir():
            path.unlink()
    else:
        for name in ("disk", "vault"):
            shutil.rmtree(site.root / name, ignore_errors=True)
            (site.root / name).write_text("")
    expected = _hint(site)
    ran = site.dr("--json", *command.replace("OUT", str(site.root / "out")).split(), code=None)
    assert ran.code not in (0, 4)
    hints = [error["hint"] for error in ran.document["errors"]]
    assert any(expected in hint for hint in hints), (expected, ran.document["errors"])
    assert expected[:1].upper() + expected[1:] in ran.err


def _hint(site: Site) -> str:
    """What the cause itself says is to be done."""
    session = fresh(site)
    [loaded] = session.chosen(["share"])
    try:
        place = session.toolbox(loaded).places[0]
        place.store.reachable()
        place.repository.snapshots()
    except DrError as error:
        assert error.hint
        return error.hint
    finally:
        session.close()
    raise AssertionError("nothing is wrong")


def test_of_a_file_that_the_machine_refused_the_record_names_the_file_system_alone(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught, every_error():
        (tmp_path / "anna's grades.ods").read_text()
    assert str(caught.value).startswith("the file system at /") and "grades" not in f"{caught.value}{caught.value.hint}"
    assert "-v" in caught.value.hint
    told = as_error(FileNotFoundError(2, "No such file or directory", "x.txt"))
    assert told.where == "x.txt", "who types a command is told its name"


def test_a_traceback_is_for_those_who_ask_for_one(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import dr.operations.backup as b\ndef broken(*a, **k): raise TypeError('x')\nb.run_backup = broken\n"
    )
    env = {**site.env, "PYTHONPATH": f"{tmp_path}:{site.env['PYTHONPATH']}"}
    for more, traced in (((), False), (("-v",), True)):
        ran = subprocess.run(
            site.argv("backup", "share", *more), env=env, cwd=site.root, capture_output=True, text=True, check=False
        )
        assert ran.returncode == FAILED
        assert "a fault in this program (TypeError" in ran.stderr and "Run again with -v, and report" in ran.stderr
        assert ("Traceback" in ran.stderr) == traced

"""The command line itself: options anywhere, one document, and no claim from what was altered."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dr
from dr.catalog.store import Catalog
from dr.cli.main import main
from tests.conftest import Site, plan_text
from tests.waiting import LIMIT


@pytest.fixture(autouse=True)
def _signals_and_log_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize("arguments", [("--version",), ("status", "--version"), ("backup", "x", "--all", "--version")])
def test_the_version_is_told_before_and_after_a_command(site: Site, arguments: tuple[str, ...]) -> None:
    assert site.dr(*arguments).out.strip() == f"dr, version {dr.__version__}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--version",), dr.__version__), (("status", "--help"), "Usage: dr status"), (("-h",), "Usage: dr")],
)
def test_with_json_help_and_version_are_in_the_one_document(site: Site, arguments: tuple[str, ...], said: str) -> None:
    document = site.dr(*arguments, "--json").document
    assert document["schema"] == 1 and said in document["text"] and document["errors"] == []


def test_a_reader_who_has_read_enough_is_no_fault(files_site: Site) -> None:
    for more in ((), ("--json",)):
        running = files_site.interpreter("schema", *more)
        assert running.stdout and running.stderr
        running.stdout.close()
        assert running.stderr.read() == ""
        running.stderr.close()
        assert running.wait(timeout=LIMIT) in (0, 1)


@pytest.mark.parametrize("merged", ["", "2>&1"])
def test_a_reader_who_leaves_changes_no_work_and_no_exit_code(files_site: Site, merged: str) -> None:
    files_site.plan("other", plan_text("other", f"docs: {{files: {{paths: [{files_site.root / 'source'}]}}}}"))
    for typed, code in ((("backup", "--all"), 0), (("status",), 0), (("points",), 0), (("drill", "other"), 0)):
        told = f"{shlex.join(files_site.argv(*typed))} {merged} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", told], env=files_site.env, capture_output=True, text=True)
        assert (done.stdout.strip(), typed) == (str(code), typed)
    assert len(files_site.dr("points", "--json").document["points"]) == 2


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_a_closed_stream_harms_no_work_and_its_exit_code(files_site: Site, closed: str) -> None:
    typed = f"{shlex.join(files_site.argv('backup', 'share'))} {closed}"
    done = subprocess.run(["sh", "-c", typed], env=files_site.env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(files_site.dr("points", "--json").document["points"]) == 1


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_result_that_cannot_be_written_is_said_and_no_success(files_site: Site, json: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            files_site.argv("backup", "share", *json),
            env=files_site.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = "dr: the result could not be written: No space left on device. See where stdout leads\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert files_site.dr("points", "--json").document["points"][0]["outcome"] == "ok", "the work itself is done"


@pytest.mark.parametrize(("typed", "code"), [(["backup", "share"], 1), (["validate"], 0), (["backup", "none"], 2)])
def test_what_cannot_be_said_on_a_full_disk_changes_no_exit_code(site: Site, typed: list[str], code: int) -> None:
    """`2>>LOG` of cron, say. What is wrong, or warned of, is said on stderr alone."""
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/gone]}}}}", targets="[disk]"))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(site.argv(*typed), env=site.env, stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.returncode == code


def test_a_current_directory_that_is_gone_is_said(site: Site) -> None:
    typed = f"mkdir gone && cd gone && rmdir ../gone && exec {shlex.join([*site.argv()[:3], 'status'])}"
    done = subprocess.run(["sh", "-c", typed], env=site.env, cwd=site.root, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("dr: the current directory is gone. Change into one"), done


def test_nobody_but_its_owner_writes_into_what_is_stored_whatever_mask_cron_gives(files_site: Site) -> None:
    typed = f"umask 000; exec {shlex.join(files_site.argv('backup', 'share'))}"
    subprocess.run(["sh", "-c", typed], env=files_site.env, check=True, capture_output=True)
    made = [path for place in ("state", "disk") for path in (files_site.root / place).rglob("*")]
    assert len(made) > 20 and [path for path in made if path.stat().st_mode & 0o002] == []


def test_a_drill_of_a_time_before_everything_is_refused_and_not_recorded(files_site: Site) -> None:
    files_site.dr("backup", "share")
    ran = files_site.dr("drill", "share", "--at", "2020-01-01", code=2)
    assert "share has no recovery point from 2020-01-01" in ran.err and "the oldest is of" in ran.err
    assert files_site.dr("audit", "--json").document["records"] == 1


def test_validate_looks_at_the_custodians_too(files_site: Site) -> None:
    (files_site.root / "config" / "kit.yaml").write_text("custodians: [Clerk, Business manager]\nthreshold: 3\n")
    ran = files_site.dr("validate", code=2)
    assert "kit.yaml:1:1: the threshold (3) is more than there are custodians (2). `dr schema` describes" in ran.err
    assert "1 fault" in ran.out and "1 fault" not in files_site.dr("validate", "share").out
    shown = files_site.dr("schema", "kit", "--json").document["json_schema"]
    assert set(shown["properties"]) == {"custodians", "threshold", "paper"}


def test_init_writes_where_the_next_command_will_look(site: Site) -> None:
    place = site.root / "elsewhere"
    argv = [word for word in site.argv("init", "--json") if word != "--config" and word != str(site.root / "config")]
    done = subprocess.run(
        argv, env={**site.env, "DR_CONFIG": str(place)}, cwd=site.root, capture_output=True, check=True
    )
    assert {Path(path).parent.parent for path in json.loads(done.stdout)["written"]} == {place}


def test_validate_gives_the_same_advice_each_time(files_site: Site) -> None:
    plan = files_site.root / "config" / "plans" / "share.yaml"
    plan.write_text("".join(x for x in plan.read_text().splitlines(True) if not x.startswith("owner")))
    for _ in range(2):
        assert "names no owner" in str(files_site.dr("validate", "--json").document["warnings"])
        files_site.dr("status")  # keeps the plan as it read it


def test_validate_refuses_a_system_that_is_only_part_of_a_faulty_files_path(files_site: Site) -> None:
    files_site.plan("payroll", "system: [typo\n")
    assert "there is no plan" in files_site.dr("validate", "roll", code=2).err
    assert "there is no plan" in files_site.dr("validate", "plans", code=2).err
    assert "this is not valid YAML" in files_site.dr("validate", "payroll", code=2).err
    files_site.dr("validate", "share")


def test_a_warning_about_one_plan_is_not_said_of_another(files_site: Site) -> None:
    text = plan_text("timeshare", f"docs: {{files: {{paths: [{files_site.root}/source]}}}}")
    files_site.plan("timeshare", text + "cadence: {backup: every 9 hours}\n")
    assert "over the RPO" not in files_site.dr("backup", "share", "--dry-run").err
    assert "over the RPO" in files_site.dr("backup", "timeshare", "--dry-run").err


def test_a_report_goes_to_stdout_or_to_a_file_whole(files_site: Site) -> None:
    files_site.dr("backup", "share")
    assert files_site.dr("report", "--format", "md", "-o", "-").out.startswith("# The share system")
    assert not (files_site.root / "-").exists()
    document = files_site.dr("report", "--format", "json", "--json").document
    assert document["report"]["title"] == "The share system"
    files_site.dr("report", "-o", str(files_site.root / "none" / "report.html"), code=1)
    assert not (files_site.root / "none").exists()


def test_a_report_takes_the_place_of_no_device_no_pipe_and_no_link(files_site: Site) -> None:
    root = files_site.root
    os.mkfifo(root / "pipe")
    running = files_site.interpreter("report", "--format", "md", "-o", str(root / "pipe"))
    assert (root / "pipe").read_text().startswith("# The share system"), "opened here too, or it would wait for ever"
    running.communicate(timeout=LIMIT)
    assert running.returncode == 0 and (root / "pipe").is_fifo()
    (root / "newest.html").symlink_to(root / "reports" / "november.html")
    (root / "reports").mkdir()
    files_site.dr("report", "-o", str(root / "newest.html"))
    assert (root / "newest.html").is_symlink() and (root / "reports" / "november.html").stat().st_size > 1000
    assert [path.name for path in (root / "reports").iterdir()] == ["november.html"]


def test_a_report_needs_no_restic(files_site: Site) -> None:
    files_site.dr("backup", "share")
    for command in (("report", "-o", "r.html"), ("status",), ("points",), ("audit",)):
        files_site.dr(*command, DR_RESTIC="/nonexistent/restic")


def test_a_report_is_on_the_drill_that_was_named(files_site: Site) -> None:
    site = files_site
    site.plan("other", plan_text("other", f"docs: {{files: {{paths: [{site.root}/source]}}}}"))
    site.dr("backup", "--all")
    drill = site.dr("drill", "share", "--json").document["drills"][0]["drill_id"]
    assert drill in site.dr("report", "--drill", drill, "--system", "share", "--since", "0s", "--format", "md").out
    assert "is not one of other" in site.dr("report", "--drill", drill, "--system", "other", code=2).err
    assert "there is no drill" in site.dr("report", "--drill", "drill-none", code=2).err
    (site.root / "config" / "plans" / "share.yaml").unlink()
    assert drill in site.dr("report", "--drill", drill, "--format", "md").out, "also when its plan is gone"


def test_a_report_says_first_that_the_record_was_altered_and_passes_nothing_of_it_on(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    drill = site.dr("drill", "share", "--json").document["drills"][0]["drill_id"]
    database = sqlite3.connect(site.root / "state" / "catalog.sqlite")
    with database:
        database.execute("update evidence set body = '{' where ref = ?", (drill,))
    database.close()
    for form in ("html", "md", "json"):
        text = site.dr("report", "--format", form, "-o", "-").out
        assert drill not in text
        assert "record 2 was edited" in text
    assert "The record of evidence is not whole" in site.dr("report", "--format", "md", "-o", "-").out.split("##")[0]
    assert "there is no drill" in site.dr("report", "--drill", drill, code=2).err
    assert "record 2" in site.dr("audit", code=1).err
    site.dr("status")


def test_what_went_wrong_is_said_once_and_where_it_is_to_be_mended(files_site: Site) -> None:
    site = files_site
    site.plan(
        "broken", plan_text("broken", "export: {command: {run: [sh, -c, 'exit 5'], filename: x}}", targets="[disk]")
    )
    error = site.dr("backup", "broken", "--json", code=1).document["errors"][0]
    assert (error["where"], error["what"]) == ("broken: source export", "the command failed with exit code 5")
    (error,) = site.dr("verify", "share", "--json", code=1).document["errors"][:1]
    assert (error["where"], error["what"]) == ("share on disk", "there is no repository yet")
    for name in ("disk", "vault"):
        site.target(name, f"target: {name}\nlocal: {{path: /nonexistent/place/{name}}}\n")
    down = site.dr("backup", "share", "--json", code=1).document["errors"]
    assert [error["where"] for error in down] == ["share: target disk", "share: target vault"], "no source is to blame"


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(site: Site) -> None:
    ran = site.dr("--config", "/proc/nowhere", "init", "--json", code=1)
    (error,) = ran.document["errors"]
    assert error["where"].startswith("/proc/nowhere") and error["hint"] == "see the file and its rights"


def test_a_fault_of_this_program_is_one_sentence_and_a_traceback_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(self: Catalog) -> None:
        raise ZeroDivisionError("a secret thing")

    monkeypatch.setattr(Catalog, "audit", broken)
    where = ("--config", str(tmp_path), "--state", str(tmp_path / "state"))
    place = r"dr/cli/audit\.py:[0-9]+"  # the last line of this program that it went through
    for more in ((), ("-v",)):
        logging.root.handlers.clear()  # as in a process of its own
        with pytest.raises(SystemExit) as ended:
            main([*where, "audit", "--json", *more])
        said = capsys.readouterr()
        assert ended.value.code == 1
        what = json.loads(said.out)["errors"][0]["what"]
        assert re.fullmatch(rf"a fault in this program \(ZeroDivisionError at {place}\)", what), what
        asked = bool(more)
        assert ("Traceback" in said.err, "a secret thing" in said.err) == (asked, asked)
        assert "a secret thing" not in said.out


def test_ctrl_c_outside_of_any_run_is_130_with_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stopped(self: Catalog) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Catalog, "audit", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path), "--state", str(tmp_path / "state"), "audit", "--json"])
    assert ended.value.code == 130
    assert json.loads(capsys.readouterr().out)["errors"][0]["what"] == "stopped on request"


def test_each_failure_is_one_line(files_site: Site) -> None:
    site = files_site
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[disk]"))
    site.dr("backup", "share")
    secret = site.root / "state" / "secrets" / "share@disk.passphrase"
    phrase = secret.read_text()
    secret.write_text("another passphrase\n")
    (told,) = site.dr("backup", "share", code=12).err.splitlines()
    assert told.startswith("dr: share: target disk: the passphrase does not open the repository. ")
    (told,) = site.dr("drill", "share", code=12).err.splitlines()
    assert told.startswith(
        "dr: share on disk: the passphrase does not open the repository. Put back the one that made it"
    )
    secret.write_text(phrase)
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/nowhere]}}}}", targets="[disk]"))
    (told,) = site.dr("backup", "share", code=1).err.splitlines()
    assert told.startswith("dr: share: source docs: no declared path is there: ")


def test_points_on_a_target_that_the_plan_no_longer_names_are_named(files_site: Site) -> None:
    site, source = files_site, f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[disk]"))
    site.dr("backup", "share")
    site.plan("share", plan_text("share", source, targets="[vault]"))
    (told,) = site.dr("drill", "share", code=1).err.splitlines()
    assert told.startswith("dr: share: the recovery points lie on disk, which the plan does not name. Name it again")
    site.dr("backup", "share")
    (site.root / "vault" / "share").rename(site.root / "away")
    told = site.dr("recover", "share", "--to", str(site.root / "out"), "--yes", code=1).err
    assert (
        "Name disk again under targets, where copies lie that the plan does not name any more; or mount its disk"
        in told
    )


def test_the_document_names_the_command_and_not_the_value_of_an_option(site: Site) -> None:
    (site.root / "status").mkdir()
    assert site.dr("--config", "status", "--json", "points", code=2).document["command"] == "points"
    assert site.dr("audit", "--json", "--state", "points").document["command"] == "audit"


def test_who_interrupts_the_making_of_a_class_gets_130_too(tmp_path: Path) -> None:
    """Python ends by the signal itself, whatever was made of it since, where it met code that is text."""
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "__main__.py").write_text(
        "from dr.cli import main\n"
        "def program(**given): exec('raise KeyboardInterrupt')\n"
        "main.program, main.require_values = program, lambda *given: {}\n"
        "main.main(['status'])\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(dr.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-m", "stopped"], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130 and done.stderr.startswith("dr: stopped on request."), done.stderr


def test_a_run_that_is_stopped_before_its_first_step_is_on_record_as_aborted(
    files_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dr.operations.backup.run_backup", stopped)
    monkeypatch.setenv("DR_RESTIC", files_site.env["DR_RESTIC"])
    with pytest.raises(SystemExit) as ended:
        main(files_site.argv("backup", "share")[3:])
    assert ended.value.code == 130
    with Catalog.open(files_site.state) as catalog:
        assert [record.body["outcome"] for record in catalog.records()] == ["aborted"] and catalog.open_runs() == []


def test_objectives_of_a_hundred_years_are_kept_like_any_other(files_site: Site) -> None:
    plan = files_site.root / "config" / "plans" / "share.yaml"
    longest = "objectives: {rto: 36599d, rpo: 36600d, mtd: 36600d}"
    plan.write_text(plan.read_text().replace("objectives: {rto: 1h, rpo: 4h, mtd: 8h}", longest))
    for typed in ("validate", "run", "status", "drill", "verify", "replicate", "points --calendar", "report"):
        named = ["share"] if typed in ("drill", "verify", "replicate", "points --calendar") else []
        ran = files_site.dr(*typed.split(), *named, code=None)
        assert "a fault in this program" not in ran.err and ran.code in (0, 3), (typed, ran.err)
    assert files_site.dr("metrics", code=None).out.count("dr_") > 10

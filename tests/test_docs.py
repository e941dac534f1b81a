"""What the docs show is run: every command, every plan, and the recovery without this program."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dr.cli.main import COMMANDS
from tests.conftest import ROOT, Site

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What the reader fills in.
FILLED = {
    "SYSTEM": "sis",
    "DATABASE.TABLE": "sis.students",
    "/srv/recovered": "{root}/recovered",
    "2026-11-24T06:00:00Z": "2099-01-01T00:00:00Z",
    "NAME": "disk",
    "127.0.0.1:9756": "127.0.0.1:0",
    "/etc/systemd/system": "{root}",
    "/srv/events.jsonl": "{root}/events.jsonl",
    **{f"/srv/{name}": f"{{root}}/{name}" for name in ("kit", "next-kit", "recovery", "back", "one")},
}


def commands() -> list[str]:
    """Every `dr …` shown, in code spans and in blocks."""
    found: dict[str, None] = {}
    for path in DOCS:
        text = path.read_text()
        for line in re.findall(r"^(?:    )?\$ (dr .+)$", text, re.MULTILINE) + re.findall(r"`(dr [^`]+)`", text):
            found[line.strip()] = None
    return list(found)


def district(site: Site, s3: Any, bucket: str) -> None:
    """The plan of the README, and what it speaks of."""
    root = site.root
    photos = root / "srv/sis/uploads/photos"
    photos.mkdir(parents=True)
    for number in range(12):
        (photos / f"{number}.jpg").write_bytes(b"jpg" * 1000)
    with closing(sqlite3.connect(root / "srv/sis/sis.db")) as database, database:
        database.execute("create table students (id integer primary key)")
        database.execute("create table attendance (updated_at text)")
        database.executemany("insert into students values (?)", [(n,) for n in range(1200)])
        database.execute("insert into attendance values (strftime('%Y-%m-%dT%H:%M:%SZ'))")
    (root / "phrase").write_text("a passphrase of some length\n")
    (root / "phrase").chmod(0o600)
    keys = s3.write_keys(root / "keys")
    plan = re.search(r"```yaml\n(system: sis.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert plan
    text = plan[1].replace("/srv/sis", f"{root}/srv/sis").replace("[sis-export]", "[echo, a]")
    site.plan("sis", text.replace("/etc/dr/secrets/sis", str(root / "phrase")))
    site.plan("directory", f"""\
system: directory
objectives: {{rto: 1h, rpo: 1d}}
sources: {{photos: {{files: {{paths: [{photos}]}}}}}}
targets: [disk, offsite]
drill: {{checks: [{{manifest: {{}}}}]}}
""")  # fmt: skip
    site.target("disk", f"target: disk\nlocal: {{path: {root}/disk}}\n")
    site.target("cellar", f"target: cellar\nlocal: {{path: {root}/cellar}}\noffline: true\n")
    (root / "cellar").mkdir()
    kit = re.search(r"```yaml\n(custodians:.*?)```", (ROOT / "docs" / "kit.md").read_text(), re.DOTALL)
    assert kit
    (root / "config" / "kit.yaml").write_text(kit[1])
    (root / "config" / "site.yaml").write_text("notify: [{name: ops, to: {command: {run: ['true']}}}]\n")
    s3_part = f"endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: district, credentials: {{file: {keys}}}"
    site.target("offsite", f"target: offsite\ns3: {{{s3_part}}}\n")
    s3.make_versioned(f"{bucket}-practice")
    site.target("practice", f"target: practice\ns3: {{{s3_part.replace(bucket, f'{bucket}-practice')}}}\n")


@pytest.mark.long
def test_every_command_shown_in_the_docs_runs(site: Site, s3: Any, bucket: str) -> None:
    district(site, s3, bucket)
    site.escrow(True)
    site.dr("validate")
    site.dr("backup", "--all")
    site.dr("replicate", "sis", "--first-use", "cellar")
    shown = commands()
    assert len(shown) > 12
    typed: list[list[str]] = []  # what is shown in several ways is typed once
    for number, line in enumerate(shown):
        for word, real in FILLED.items():
            line = line.replace(word, real.format(root=site.root))
        arguments = shlex.split(line)[1:]
        if arguments[0] == "recover":
            placed = {"--to", "--in-place", "--beside"} & {*arguments}
            arguments += ["--yes"] if placed else ["sis", "--to", str(site.root / str(number)), "--yes"]
        if arguments in (["backup"], ["verify"], ["replicate"], ["expire"]):
            arguments += ["--all"]
        if arguments in (["drill"], ["repair"]):
            arguments += ["sis"]
        if "--config" in arguments and "--to" in arguments:
            arguments += ["--yes"]
        if arguments[0] == "kit" and len(arguments) <= 2:
            arguments += ["--help"]
        if arguments in (["keys"], ["hold"], ["target"], ["ls"], ["find"], ["diff"], ["notify"]):
            arguments += ["--help"]
        if arguments[0] in ("mount", "browse"):  # they stay until they are left: tests of their own type them
            arguments += ["--help"]
        if arguments[0] == "daemon":
            arguments += ["--once"]
        if arguments == ["init"]:
            (site.root / "new").mkdir()
            done = subprocess.run(
                [*site.argv()[:3], "init"], env=site.env, cwd=site.root / "new", capture_output=True, text=True
            )
            assert done.returncode == 0, (line, done.stderr)
            continue
        if arguments in typed:
            continue
        typed.append(arguments)
        ran = site.dr(*arguments, code=None)
        assert ran.code in ((0, 1, 2) if "--nagios" in arguments else (0, 3, 4)), (line, ran.code, ran.err)


def test_every_command_is_in_the_readme() -> None:
    text = DOCS[0].read_text()
    assert [name for name in COMMANDS if f"`dr {name}`" not in text] == []


def test_every_make_target_shown_is_one() -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [*DOCS, ROOT / "CONTRIBUTING.md"]
    shown = {name for path in pages for name in re.findall(r"\bmake ([a-z-]+)\b(?=`|\s+#| T=)", path.read_text())}
    assert shown and shown <= there


def test_every_link_leads_somewhere() -> None:
    for path in [*DOCS, ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert link.startswith("http") or (path.parent / link).exists(), (path.name, link)


def test_the_exit_codes_in_the_readme_are_the_programs_own() -> None:
    from dr import errors

    text = " ".join(DOCS[0].read_text().split())
    assert set(errors.EXIT_STATUS) == set(errors.WORST_FIRST)
    for code, meaning in errors.EXIT_STATUS.items():
        assert f"{code} {meaning}" in text, (code, meaning)


def test_what_is_called_stable_is_what_the_program_does() -> None:
    from dr import errors
    from dr.evidence import manifest
    from dr.report import envelope

    text = " ".join((ROOT / "docs" / "stability.md").read_text().split())
    codes = re.search(r"\| exit codes \| ((?:\d+, )+\d+ and \d+) ", text)
    assert codes and {int(code) for code in re.findall(r"\d+", codes[1])} == set(errors.WORST_FIRST)
    assert f"`schema: {envelope.SCHEMA}`" in text and f'`"schema": {manifest.SCHEMA}` in its first line' in text


def test_without_this_program_plain_restic_brings_the_point_back(site: Site, s3: Any, bucket: str) -> None:
    district(site, s3, bucket)
    run = site.dr("backup", "sis", "--json").document["runs"][0]
    points = site.dr("points", "sis", "--json").document["points"]
    page = (ROOT / "docs" / "recover.md").read_text()
    lines = [line.strip() for line in re.findall(r"^    ((?:export|restic) .+)$", page, re.MULTILINE)]
    assert len(lines) == 5
    script = "\n".join(lines)
    for word, real in {
        "AWS_ACCESS_KEY_ID=...": f"AWS_ACCESS_KEY_ID={s3.access_key}",
        "AWS_SECRET_ACCESS_KEY=...": f"AWS_SECRET_ACCESS_KEY={s3.secret_key}",
        "https://ENDPOINT/BUCKET/PREFIX/SYSTEM": f"{s3.endpoint}/{bucket}/district/sis",
        "/path/to/the/passphrase": str(site.root / "phrase"),
        "SNAPSHOT": points[0]["snapshots"]["uploads"],
        "/srv/recovered": str(site.root / "plain"),
        "restic ": f"{site.env['DR_RESTIC']} --no-cache ",
    }.items():
        assert word in script, word
        script = script.replace(word, real)
    done = subprocess.run(["sh", "-eu", "-c", script], env=site.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    back = sorted((site.root / "plain").rglob("*.jpg"))
    assert len(back) == 12 and all(path.read_bytes() == b"jpg" * 1000 for path in back)
    tags = f"dr-run={run['run_id']}"
    listing = subprocess.run(
        ["sh", "-eu", "-c", script.replace("snapshots", f"snapshots --json --tag {tags},dr-part=data").rsplit("\n", 1)[0]],
        env=site.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(json.loads(listing.stdout)) == 3, "each source of the point, found by its tags"


def test_the_plan_and_the_targets_shown_about_replicas_are_accepted(site: Site) -> None:
    text = (ROOT / "docs" / "replicas.md").read_text()
    plan, *targets = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    site.plan("sis", plan)
    for shown in targets:
        site.target(shown.split()[1], shown)
    site.target("offsite", targets[0].replace("second", "offsite").replace("sis-copies", "sis"))
    ran = site.dr("validate", "sis", "--json", code=None)
    assert [fault["what"] for fault in ran.document["errors"] if "/etc/dr" not in fault["what"]] == []
    assert len(targets) == 3


def test_the_parts_of_plans_shown_about_services_are_accepted(site: Site) -> None:
    text = (ROOT / "docs" / "services.md").read_text()
    sources, reach, host, drill, hooks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    parts = (sources, host, hooks, reach, drill.removeprefix("drill:\n"))
    checks = "".join(
        f"    - {{{check}}}\n" for check in ("rows: {source: database}", "schema: {source: database}", "manifest: {}")
    )
    head = "system: sis\nowner: {role: Data manager}\nobjectives: {rto: 1h, rpo: 4h}\ntargets: [disk]\n"
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.plan("sis", head + "".join(parts).replace("  checks:\n", f"  checks:\n{checks}", 1))
    ran = site.dr("validate", "sis", "--json", code=None)
    assert [fault["what"] for fault in ran.document["errors"] if "/etc/dr" not in fault["what"]] == []


def test_the_targets_shown_about_targets_are_accepted(files_site: Site) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "targets.md").read_text(), re.DOTALL)
    assert len(shown) >= 2
    for number, text in enumerate(shown):
        files_site.target(f"shown-{number}", re.sub(r"^target: .*", f"target: shown-{number}", text))
    ran = files_site.dr("validate", "--json", code=None)
    assert [fault["what"] for fault in ran.document["errors"] if "/etc/dr" not in fault["what"]] == []


def test_the_site_shown_is_accepted(files_site: Site) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "unattended.md").read_text(), re.DOTALL)
    (files_site.root / "config" / "site.yaml").write_text(text)
    files_site.target("offsite", f"target: offsite\nlocal: {{path: {files_site.root}/offsite}}\n")
    assert files_site.dr("validate", "--json").document["errors"] == []
    assert files_site.dr("validate", "--show", "share", "--json").document["effective"]["plan"]["cadence"][
        "timezone"
    ] == ("America/New_York")


@pytest.mark.parametrize("path", sorted((ROOT / "plans").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_plans_that_come_along_have_no_fault_but_their_places(path: Path, site: Site) -> None:
    for folder in ("plans", "targets"):
        for each in (ROOT / folder).glob("*.yaml"):
            getattr(site, folder[:-1])(each.stem, each.read_text())
    ran = site.dr("validate", path.stem, "--json", code=None)
    faults = ran.document["errors"] + ran.document["warnings"]
    places = ("/srv/district", "offsite", "127.0.0.1")  # the demo's service runs on the machine that it is played on
    assert [fault for fault in faults if not any(place in fault["what"] for place in places)] == []


def test_what_the_guide_to_a_target_kind_shows_is_what_the_toy_holds() -> None:
    toy = (ROOT / "tests" / "targets" / "toy.py").read_text()
    about = (ROOT / "docs" / "extending.md").read_text().partition("## A target kind")[2].partition("\n## ")[0]
    shown = re.findall(r"```python\n(.*?)```", about, re.DOTALL)
    assert len(shown) == 3 and [part for part in shown if part not in toy] == []
    assert "register(CupboardDriver)" in about and "register(CupboardDriver)" in toy


def test_the_plan_and_the_target_shown_about_retention_are_accepted(files_site: Site) -> None:
    plan, target = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "retention.md").read_text(), re.DOTALL)
    files_site.target("offsite", target)
    path = files_site.root / "config" / "plans" / "share.yaml"
    path.write_text(path.read_text() + plan)
    ran = files_site.dr("validate", "--json", code=None)
    assert [fault["what"] for fault in ran.document["errors"] if "/etc/dr" not in fault["what"]] == []

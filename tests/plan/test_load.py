"""Declarations: all faults at once, each with its place and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

from dr.catalog.store import Catalog
from dr.cli.context import Context
from dr.errors import PlanError, UsageError
from dr.plan.declarations import find_config
from dr.plan.load import load
from dr.plan.schema import schema
from dr.tools.state_dir import StateDir

SAMPLES = Path(__file__).parents[1] / "samples"
ENV = {"DR_KEY_ID": "x", "DR_KEY": "y", "DR_SIS_PASSPHRASE": "z"}


def test_every_key_of_the_format_is_accepted() -> None:
    found = load(SAMPLES / "good", env=ENV)
    assert sorted(found.plans) == ["directory", "library", "sis"]
    assert [fault for fault in found.faults if fault.severity != "advice"] == []
    plan = found.plans["sis"].plan
    assert (plan.objectives.rto, plan.objectives.rpo, plan.drill.checks[4].mandatory) == (7200, 14400, False)
    assert plan.drill.checks[4].body.sample == 0.05
    assert found.plans["directory"].plan.backup_cadence == "every 28800 seconds"
    assert found.targets["disk"].local.path == SAMPLES / "good" / "copies"


@pytest.mark.parametrize("sample", sorted((SAMPLES / "faulty").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_faulty_plan_gets_its_sentence(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    shutil.copytree(SAMPLES / "good" / "targets", tmp_path / "targets")
    shutil.copy(sample, tmp_path / "plans" / "sis.yaml")
    expected = sample.read_text().splitlines()[0].removeprefix("# expected: ")
    found = [f"{f.what}. {f.hint}" for f in load(tmp_path, env=ENV).faults if f.severity != "advice"]
    assert any(expected in text for text in found), found
    assert all(fault.line >= 1 and fault.hint for fault in load(tmp_path, env=ENV).faults)


def test_all_faults_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "targets").mkdir()
    (tmp_path / "plans" / "a.yaml").write_text(
        "system: a\nobjectives: {rto: 9h, rpo: 4h, mtd: 8h}\nsources:\n  d: {files: {paths: [/tmp], exlude: [x]}}\n"
        "targets: [nowhere]\ndepends_on: [b]\n"
    )
    (tmp_path / "plans" / "b.yaml").write_text(
        "system: b\nobjectives: {rto: 1h, rpo: 4h}\nsources: {d: {files: {paths: [/tmp]}}}\ntargets: [t]\ndepends_on: [a]\n"
    )
    (tmp_path / "targets" / "t.yaml").write_text("target: t\nlocal: {pth: x}\n")
    found = load(tmp_path, env=ENV)
    told = {f.what: (Path(f.file).name, f.line, f.column) for f in found.faults if f.severity == "refused"}
    assert told["unknown key 'exlude'"] == ("a.yaml", 4, 30)
    assert told["the RTO (9 h) is not shorter than the MTD (8 h)"] == ("a.yaml", 2, 14)
    assert told["there is no usable target 'nowhere'"] == ("a.yaml", 5, 11)
    assert told["the dependencies run in a circle: a → b → a"] == ("a.yaml", 6, 1)
    assert told["the dependencies run in a circle: b → a → b"] == ("b.yaml", 5, 1)
    assert told["unknown key 'pth'"] == ("t.yaml", 2, 9)
    with pytest.raises(PlanError):
        found.require(["a"])


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: \x00b", b"x" * (1 << 21), b"[" * 5000, b"a: !!python/object:os.system x"]
)
def test_odd_files_are_faults_and_never_tracebacks(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "odd.yaml").write_bytes(content)
    assert [fault.severity for fault in load(tmp_path, env=ENV).faults] == ["refused"]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3: {bucket: abc, endpoint: 'localhost:9000'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'ftp://place'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'https://'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'http://place:99999'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'https://key:secret@place'}", "do not put access keys"),
        ("s3: {bucket: abc, endpoint: 'https://key:se?cret@place'}", "do not put access keys"),
        ("s3: {bucket: abc, endpoint: 'https://pl ace'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'https://[place'}", "is not an address of a service"),
        ("s3: {bucket: abc, endpoint: 'https://place/abc'}", "goes past the host: leave https://place, and write"),
        ("s3: {bucket: abc, endpoint: 'https://place/?x=1'}", "goes past the host"),
        ("s3: {bucket: abc, endpoint: 'https://place#x'}", "goes past the host"),
        ("s3: {bucket: 'a b c'}", "is not a bucket name"),
        ("s3: {bucket: 'a..c'}", "is not a bucket name"),
        ("s3: {bucket: abc, region: 'us east'}", "region"),
        ("s3: {bucket: a.b.c, addressing: virtual}", "cannot stand before a host's name"),
        ("s3: {bucket: Abc, addressing: virtual}", "cannot stand before a host's name"),
        ("s3: {bucket: abc, addressing: dns}", "cannot be 'dns'"),
        ("s3: {bucket: abc, ca_file: 'a,b.pem'}", "takes a comma"),
        *(
            (f"s3: {{bucket: abc, prefix: '{prefix}'}}", "is not one place to all who read it")
            for prefix in (
                "a//b",
                "a/../b",
                ".",
                "..",
                "a/./b",
                "a b /c",
                " a",
                "a%41",
                "a?b",
                "a#b",
                r"a\b",
                "a/ /b",
            )
        ),
        ('s3: {bucket: abc, prefix: "a\\tb"}', "is not one place"),
        ("local: {path: ''}", "is empty: name a directory"),
        ("local: {path: '~nobody-of-this-name/x'}", "names the home of a user whom this machine does not know"),
        ('local: {path: "a\\nb"}', "control characters"),
        ("s3: {bucket: ab}", "too short"),
        (
            "s3: {bucket: abc, immutability: {mode: compliance, days: 120}}",
            "days (120) is more than max_lock_days (90)",
        ),
        ("s3: {bucket: abc, credentials: {file: x, profile: y}}", "give exactly one of profile, file or env"),
        ("local: {path: x}\ns3: {bucket: abc}", "give exactly one of s3, local"),
    ],
)
def test_each_faulty_target_gets_its_sentence(place: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "t.yaml").write_text(f"target: t\n{place}\n")
    found = load(tmp_path, env={"AWS_ACCESS_KEY_ID": "x"})
    assert [fault.severity for fault in found.faults] == ["refused"] and not found.targets
    assert expected in found.faults[0].what and "secret@" not in str(found.faults)


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "https://s3.us-east-1.amazonaws.com", "http://[::1]:9000"]
)
def test_addresses_of_services_are_taken_as_they_are(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "t.yaml").write_text(f"target: t\ns3: {{bucket: a.B_c-1, endpoint: '{endpoint}'}}\n")
    found = load(tmp_path, env={"AWS_ACCESS_KEY_ID": "x"})
    assert not found.faults and found.targets["t"].s3 and found.targets["t"].s3.endpoint == endpoint


@pytest.mark.parametrize(
    ("written", "read"),
    [("", ""), ("/", ""), ("/a/", "a"), ("a/b/", "a/b"), ("a b/ü", "a b/ü"), (".a/b..c", ".a/b..c")],
)
def test_a_prefix_is_read_without_the_slashes_around_it(written: str, read: str, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    text = f"target: t\ns3: {{bucket: abc, prefix: '{written}', endpoint: 'HTTPS://Place:443/'}}\n"
    (tmp_path / "targets" / "t.yaml").write_text(text)
    place = load(tmp_path, env={"AWS_ACCESS_KEY_ID": "x"}).targets["t"].s3
    assert place and (place.prefix, place.endpoint) == (read, "https://place:443")


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (b"phrase\n", 0o600, ""),
        (b" phrase\r\n", 0o400, ""),
        (b"phrase\n", 0o644, "is open to everybody here (mode 0644)"),
        (b"phrase\n", 0o640, "is open to its group (mode 0640)"),
        (b"\xef\xbb\xbfphrase\n", 0o600, "begins with a byte order mark"),
        ("phrase\n".encode("utf-16"), 0o600, "begins with a byte order mark"),
        (b"phrase\nsecond\n", 0o600, "holds several lines"),
        (b"phr\xe4se\n", 0o600, "is not text in UTF-8"),
        (b"phr\x00ase\n", 0o600, "holds a control character"),
        (b"\r\n", 0o600, "is empty"),
    ],
)
def test_a_passphrase_file_that_others_read_or_read_otherwise_is_a_fault(
    content: bytes, mode: int, expected: str, tmp_path: Path
) -> None:
    secret = tmp_path / "phrase"
    secret.write_bytes(content)
    secret.chmod(mode)
    for folder in ("plans", "targets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "targets" / "disk.yaml").write_text("target: disk\nlocal: {path: copies}\n")
    (tmp_path / "plans" / "a.yaml").write_text(
        f"system: a\nobjectives: {{rto: 2h, rpo: 4h}}\nsources: {{d: {{files: {{paths: [{tmp_path}]}}}}}}\n"
        f"targets: [disk]\nsecrets: {{passphrase: {{file: {secret}}}}}\n"
    )
    faults = [fault for fault in load(tmp_path, env=ENV).faults if fault.severity != "advice"]
    assert [(fault.severity, expected in fault.what) for fault in faults] == [("unsound", True)] * bool(expected)
    assert not mode & 0o077 or f"`chmod 600 {secret}`" in faults[0].hint


@pytest.mark.parametrize(
    ("declared", "severity"), [("", "advice"), ("offsite: true", "unsound"), ("offsite: false", "")]
)
def test_a_service_on_this_very_host_is_said_not_to_be_offsite(declared: str, severity: str, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    text = f"target: t\n{declared}\ns3: {{bucket: abc, endpoint: 'http://127.0.0.1:9000'}}\n"
    (tmp_path / "targets" / "t.yaml").write_text(text)
    found = load(tmp_path, env={"AWS_ACCESS_KEY_ID": "x"}, is_here=lambda host: host == "127.0.0.1").faults
    assert [(f.severity, "is on this very host" in f.what, "`offsite: false`" in f.hint) for f in found] == (
        [(severity, True, True)] if severity else []
    )


def test_odd_places_are_faults_too(tmp_path: Path) -> None:
    (tmp_path / "plans" / "folder.yaml").mkdir(parents=True)
    (tmp_path / "plans" / "dangling.yaml").symlink_to("nowhere")
    assert len(load(tmp_path, env=ENV).faults) == 2


def test_two_files_for_one_system_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "good", tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "plans" / "sis.yaml", tmp_path / "plans" / "sis2.yaml")
    assert any("declared in another file" in f.what for f in load(tmp_path, env=ENV).faults)


def test_a_fault_in_one_plan_does_not_stop_another(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "good", tmp_path, dirs_exist_ok=True)
    (tmp_path / "plans" / "other.yaml").write_text("system: other\n")
    load(tmp_path, env=ENV).require(["sis"])
    with pytest.raises(PlanError):
        load(tmp_path, env=ENV).require([])


def test_a_kept_plan_is_the_plan_read_again_when_its_file_changes(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "good", tmp_path, dirs_exist_ok=True)
    with Catalog.open(StateDir(tmp_path / "state")) as catalog:
        first = load(tmp_path, cache=catalog, env=ENV)
        again = load(tmp_path, cache=catalog, env=ENV)
        assert {n: (x.plan, x.digest, x.text) for n, x in again.plans.items()} == {
            n: (x.plan, x.digest, x.text) for n, x in first.plans.items()
        }
        path = tmp_path / "plans" / "sis.yaml"
        path.write_text(path.read_text().replace("rto: 2h", "rto: 3h"))
        assert load(tmp_path, cache=catalog, env=ENV).plans["sis"].plan.objectives.rto == 10800


def test_the_configuration_directory_is_named_or_here(tmp_path: Path) -> None:
    assert find_config(str(tmp_path), {}) == tmp_path
    assert find_config(None, {"DR_CONFIG": str(tmp_path)}) == tmp_path
    with pytest.raises(UsageError, match="not there"):
        find_config(str(tmp_path / "none"), {})


def test_the_schemas_know_every_key() -> None:
    plan = schema("plan")
    assert {"system", "objectives", "sources", "targets", "drill", "secrets", "cadence"} <= set(plan["properties"])
    assert plan["additionalProperties"] is False and schema("target")["required"] == ["target"]


def test_a_replica_in_the_place_of_a_target_and_an_offline_target_are_found(tmp_path: Path) -> None:
    for folder in ("plans", "targets"):
        (tmp_path / folder).mkdir()
    for name, more in (("a", ""), ("b", ""), ("c", "offline: true\n")):
        place = tmp_path / ("same" if name in "ab" else name)
        (tmp_path / "targets" / f"{name}.yaml").write_text(f"target: {name}\nlocal: {{path: {place}}}\n{more}")
    plan = tmp_path / "plans" / "sis.yaml"
    head = "system: sis\nobjectives: {rto: 1h, rpo: 4h}\nsources: {d: {files: {paths: [/tmp]}}}\n"
    plan.write_text(head + "targets: [a]\nreplicas: [b]\n")
    told = {fault.what: (fault.severity, fault.line) for fault in load(tmp_path, env=ENV).faults}
    assert told["the targets 'a' and 'b' lie in the same place: that is one copy"] == ("refused", 5)
    plan.write_text(head + "targets: [a, c]\n")
    told = {fault.what: (fault.severity, fault.line) for fault in load(tmp_path, env=ENV).faults}
    assert told["the target 'c' is offline at times: backups to it would fail then"] == ("unsound", 4)
    plan.write_text(head + "targets: [a]\nreplicas: [c]\n")
    assert not [fault for fault in load(tmp_path, env=ENV).faults if fault.severity != "advice"]
    (tmp_path / "targets" / "c.yaml").write_text("target: c\noffline: true\ns3: {bucket: xyz}\n")
    assert any("only a local target can be offline" in fault.what for fault in load(tmp_path, env=ENV).faults)


def _faults(tmp_path: Path, source: str) -> list[str]:
    (tmp_path / "plans").mkdir()
    shutil.copytree(SAMPLES / "good" / "targets", tmp_path / "targets")
    head = "system: sis\nowner: {role: Data manager}\nobjectives: {rto: 2h, rpo: 4h, mtd: 8h}\ntargets: [disk]\n"
    (tmp_path / "plans" / "sis.yaml").write_text(f"{head}sources:\n  docs: {source}\n")
    return [f"{fault.what}. {fault.hint}" for fault in load(tmp_path, env=ENV).faults if fault.severity != "advice"]


HOME = "write it in full: whose home `~` is depends on who runs dr"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{files: {paths: [~/x]}}", [f"the path '~/x' is not absolute. {HOME}"]),
        ("{files: {paths: [~/x, y]}}", [f"the path '~/x' is not absolute. {HOME}", "the path 'y' is not absolute. begin it with /"]),
        ("{files: {paths: [null]}}", ["'paths, item 1' must be text; put it in quotes. correct the value"]),
        ("{files: {paths: [no]}}", ["'paths, item 1' must be text, and YAML reads on, off, yes and no as true or false. put it in quotes"]),
        ("{files: {paths: []}}", ["'paths' is empty or too short. it needs at least 1"]),
        ("{files: {paths: /srv}}", ["'paths' must be a list. write paths: [\"/srv\"]"]),
        ("{command: {run: mysqldump x, filename: x}}", ["'run' must be a list. write run: [\"mysqldump x\"]"]),
    ],
)  # fmt: skip
def test_of_a_faulty_item_only_that_is_said_and_not_that_its_list_is_empty(
    tmp_path: Path, source: str, told: list[str]
) -> None:
    assert _faults(tmp_path, source) == told


def test_two_plans_in_one_file_and_a_line_end_in_a_name_are_said_in_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "two.yaml").write_text("system: a\n---\nsystem: b\n")
    (tmp_path / "plans" / "new\nline.yaml").write_text("")
    context, told = Context(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click, "echo", lambda text, err: told.append(text))
        for fault in load(tmp_path, env=ENV).faults:
            context.fault(fault)
    assert [text.count("\n") for text in told] == [0, 0] and "/new\\nline.yaml:1:1: " in told[0]
    assert told[1].endswith("found another document. Write each plan and each target into a file of its own")

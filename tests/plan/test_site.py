"""`site.yaml`: what forty plans need not repeat, and each fault of it once, where it stands."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from dr.catalog.store import Catalog
from dr.errors import Fault, PlanError
from dr.plan.declarations import Declarations
from dr.plan.effective import as_yaml, effective, nested
from dr.plan.load import load
from dr.plan.site import SitePlan
from dr.tools.state_dir import StateDir

DEFAULTS = """\
defaults:
  owner: {role: Data manager}
  cadence: {verify: every day at 02:00, timezone: America/New_York}
  targets: [disk]
  secrets: {passphrase: {file: secrets/all}}
"""


def write(config: Path, site: str, **plans: str) -> Path:
    for folder in ("plans", "targets"):
        (config / folder).mkdir(exist_ok=True)
    (config / "site.yaml").write_text(site)
    (config / "targets" / "disk.yaml").write_text("target: disk\nlocal: {path: disk}\n")
    (config / "targets" / "vault.yaml").write_text("target: vault\nlocal: {path: vault}\n")
    for name, more in plans.items():
        (config / "plans" / f"{name}.yaml").write_text(plan(name, more))
    return config


def plan(name: str, more: str = "") -> str:
    return f"system: {name}\nobjectives: {{rto: 1h, rpo: 4h}}\nsources:\n  docs: {{files: {{paths: [/etc]}}}}\n{more}"


def told(found: Declarations) -> list[tuple[str, int, str]]:
    return [(Path(f.file).name, f.line, f.what) for f in found.faults if f.severity != "advice"]


def test_every_key_of_a_site_is_taken() -> None:
    found = load(Path(__file__).parents[1] / "samples" / "site")
    assert told(found) == []
    assert found.site.notify[0].kinds >= {"backup", "proof", "drill", "objective"}
    assert (found.site.limits.upload, found.site.limits.memory) == (5_000_000, 512 * 2**20)


def test_forty_plans_take_over_owner_cadence_and_targets(tmp_path: Path) -> None:
    systems = {f"s{number}": "" for number in range(40)}
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "all").write_text("x" * 20)
    (tmp_path / "secrets" / "all").chmod(0o600)
    found = load(write(tmp_path, DEFAULTS, **systems))
    assert told(found) == []
    for loaded in found.plans.values():
        assert loaded.plan.owner and loaded.plan.owner.role == "Data manager"
        assert (loaded.plan.targets, loaded.plan.cadence.verify) == (("disk",), "every day at 02:00")
        assert loaded.plan.secrets.passphrase and loaded.plan.secrets.passphrase.file == tmp_path / "secrets" / "all"


def test_mappings_merge_and_lists_single_values_and_the_one_of_several_are_the_plans(tmp_path: Path) -> None:
    own = "cadence: {verify: never}\ntargets: [vault]\nsecrets: {passphrase: {env: SIS}}\nowner: {role: Clerk, contact: c@d.example}\n"
    site = DEFAULTS + "  sources: {docs: {sqlite: {path: /x.db}, host: {ssh: a@b.example}}}\n"
    found = load(write(tmp_path, site, sis=own), env={"SIS": "x"})
    assert [text for text in told(found) if "known_hosts" not in text[2]] == []
    sis = found.plans["sis"].plan
    assert (sis.cadence.verify, sis.cadence.timezone, sis.targets) == ("never", "America/New_York", ("vault",))
    assert sis.secrets.passphrase and (sis.secrets.passphrase.env, sis.secrets.passphrase.file) == ("SIS", None)
    assert sis.owner and (sis.owner.role, sis.owner.contact) == ("Clerk", "c@d.example")
    assert (sis.sources["docs"].kind, sis.sources["docs"].host is not None) == ("files", True)


@pytest.mark.parametrize(
    ("site", "line", "what", "hint"),
    [
        ("defaults:\n  cadense: {}\n", 2, "unknown key 'cadense'", "did you mean 'cadence'?"),
        ("defaults:\n  tragets: [disk]\n", 2, "unknown key 'tragets'", "did you mean 'targets'?"),
        ("defaults:\n  cadence:\n    bakup: never\n", 3, "unknown key 'bakup'", "did you mean 'backup'?"),
        ("defaults:\n  system: x\n", 2, "the key 'system' cannot be a default", "write it in each plan"),
        ("defaults:\n  title: x\n", 2, "the key 'title' cannot be a default", "write it in each plan"),
        ("defaults: [x]\n", 1, "'defaults' must hold keys and values", "write keys of plans below it, or remove it"),
        ("windows: {vrify: ['1:00-2:00']}\n", 1, "unknown key 'vrify'", "did you mean 'verify'?"),
        ("limits: {uplaod: 5MB}\n", 1, "unknown key 'uplaod'", "did you mean 'upload'?"),
        ("organization: x\n", 1, "unknown key 'organization'", "did you mean 'organisation'?"),
        ("limits: {upload: fast}\n", 1, "'upload': 'fast' is not a size: write it as 512KiB, 5MB or 1GiB", ""),
        ("windows:\n  verify: ['22:00']\n", 2, "'verify, item 1': '22:00' is not a window: write it as 22:00-05:00, in quotes", ""),
        ("defaults:\n  owner: {contact: x}\n", 2, "the key 'role' is missing", ""),
        ("defaults:\n  targets: [disk, nowhere]\n", 2, "there is no usable target 'nowhere'", ""),
    ],
)  # fmt: skip
def test_a_fault_of_the_site_is_told_once_where_it_stands(
    site: str, line: int, what: str, hint: str, tmp_path: Path
) -> None:
    plans = {f"s{number}": "" if "gets" in site else "targets: [disk]\n" for number in range(40)}
    if "nowhere" in site:
        plans = dict.fromkeys(plans, "")
    found = [fault for fault in load(write(tmp_path, site, **plans)).faults if fault.severity != "advice"]
    assert [(Path(fault.file).name, fault.line, fault.what) for fault in found] == [("site.yaml", line, what)]
    assert found[0].hint and (not hint or found[0].hint == hint)


def test_a_fault_in_the_defaults_stops_the_systems_that_take_it_over_and_no_other(tmp_path: Path) -> None:
    config = write(tmp_path, "defaults: {targets: [nowhere]}\n", sis="", own="targets: [disk]\n")
    found = load(config)
    assert {fault.systems for fault in found.stopping(["sis"])} == {frozenset({"sis"})}
    assert found.stopping(["own"]) == ()
    found.require(["own"])
    with pytest.raises(PlanError, match="nowhere"):
        found.require(["sis"])


def test_a_fault_beside_the_defaults_stops_no_system_and_leaves_the_other_parts_in_use(tmp_path: Path) -> None:
    site = (
        "windows: {verify: [bad], drill: ['1:00-2:00']}\nlimits: {systems: 0}\nnotify:\n"
        "  - {name: a, to: {command: {run: [true]}}}\n  - {name: b, to: {command: {run: ['true']}}}\n"
        "  - {name: c, to: {}}\n"
    )
    found = load(write(tmp_path, site, sis="targets: [disk]\n"))
    assert found.stopping(()) == () and len(found.of_site) == 4
    assert dict(found.site.windows) == {"drill": ("1:00-2:00",)}
    assert found.site.limits.systems is None and [channel.name for channel in found.site.notify] == ["b"]


@pytest.mark.parametrize("text", ["defaults: {targets: [", "- a list\n", "defaults:\n  a: 1\n  a: 2\n"])
def test_a_site_that_cannot_be_read_stops_every_plan(text: str, tmp_path: Path) -> None:
    found = load(write(tmp_path, text, sis="targets: [disk]\n"))
    assert [Path(fault.file).name for fault in found.stopping(["sis"])] == ["site.yaml"]


def test_a_site_under_another_name_is_said_to_be_unread(tmp_path: Path) -> None:
    write(tmp_path, "", sis="targets: [disk]\n")
    (tmp_path / "site.yaml").rename(tmp_path / "site.yml")
    assert [fault.hint for fault in load(tmp_path).unread] == ["name it site.yaml"]


def test_the_digest_covers_what_the_site_lends_and_nothing_else(tmp_path: Path) -> None:
    config = write(tmp_path, "organisation: A\ndefaults: {targets: [disk]}\n", sis="", own="targets: [disk]\n")
    before = load(config).plans
    assert before["own"].digest == hashlib.sha256((config / "plans" / "own.yaml").read_bytes()).hexdigest()
    assert before["sis"].digest == hashlib.sha256(before["sis"].text.encode()).hexdigest()
    (config / "site.yaml").write_text("organisation: B\ndefaults: {targets: [disk]}\n")
    assert load(config).plans["sis"].digest == before["sis"].digest
    (config / "site.yaml").write_text("defaults: {targets: [vault]}\n")
    after = load(config).plans
    assert after["sis"].digest != before["sis"].digest and after["own"].digest == before["own"].digest


def test_the_text_that_is_kept_is_the_whole_plan_and_loads_by_itself(tmp_path: Path) -> None:
    config = write(tmp_path, DEFAULTS, sis="cadence: {backup: every 1 hours}\n")
    kept = load(config).plans["sis"]
    (config / "site.yaml").unlink()
    (config / "plans" / "sis.yaml").write_text(kept.text)
    again = load(config).plans["sis"]
    assert (again.plan, again.digest) == (kept.plan, kept.digest)


def test_the_cache_notices_a_changed_site(tmp_path: Path) -> None:
    config = write(tmp_path, "defaults: {targets: [disk]}\n", sis="")
    (tmp_path / "state").mkdir()
    with Catalog.open(StateDir(tmp_path / "state")) as catalog:
        for target in ("disk", "vault", "disk"):
            (config / "site.yaml").write_text(f"defaults: {{targets: [{target}]}}\n")
            for _ in range(2):
                assert load(config, cache=catalog).plans["sis"].plan.targets == (target,)
        (config / "site.yaml").write_text("windows: {verify: ['1:00-2:00']}\ndefaults: {targets: [disk]}\n")
        assert load(config, cache=catalog).plans["sis"].site.windows == {"verify": ("1:00-2:00",)}
        (config / "site.yaml").write_text("defaults: {targets: [nowhere]}\n")
        for _ in range(2):
            assert told(load(config, cache=catalog)) == [("site.yaml", 1, "there is no usable target 'nowhere'")]


def test_the_effective_plan_tells_where_each_value_comes_from_and_is_a_plan_again(tmp_path: Path) -> None:
    config = write(tmp_path, DEFAULTS, sis="cadence: {drill: never}\ntitle: '1:30'\nretention: {last: 6}\n")
    loaded = load(config).plans["sis"]
    values = effective(loaded, config)
    origins = {".".join(map(str, each.key)): each.origin for each in values if not each.opens}
    assert origins["owner.role"] == "site.yaml:2"
    assert origins["cadence.drill"] == "plans/sis.yaml:5"
    assert origins["cadence.timezone"] == "site.yaml:3"
    assert origins["cadence.backup"] == "default, a third of the RPO"
    assert origins["priority"] == "default"
    assert origins["sources.docs.files.paths"] == "plans/sis.yaml:4"
    assert yaml.safe_load(as_yaml(values)) == json.loads(json.dumps(nested(values)))
    (config / "plans" / "sis.yaml").write_text(as_yaml(values))
    again = load(config).plans["sis"].plan
    assert again.backup_cadence == loaded.plan.backup_cadence
    assert again.model_dump(exclude={"cadence": {"backup"}}) == loaded.plan.model_dump(exclude={"cadence": {"backup"}})


def test_without_a_site_nothing_changes(tmp_path: Path) -> None:
    config = write(tmp_path, "", sis="targets: [disk]\n")
    (config / "site.yaml").unlink()
    found = load(config)
    assert found.site == SitePlan() and told(found) == []
    assert found.plans["sis"].text == (config / "plans" / "sis.yaml").read_text()


def test_a_fault_is_the_same_whichever_systems_it_concerns() -> None:
    assert Fault("f", 1, 1, "x") == Fault("f", 1, 1, "x", systems=frozenset({"sis"}))


def test_a_fault_that_systems_share_names_them_the_first_three_of_many() -> None:
    assert Fault("site.yaml", 1, 1, "x").told == "x"
    assert Fault("site.yaml", 1, 1, "x", systems=frozenset({"sis", "hr"})).told == "x (for hr, sis)"
    many = frozenset(f"s{number}" for number in range(9))
    assert Fault("site.yaml", 1, 1, "x", systems=many).told == "x (for s0, s1, s2 and 6 more)"

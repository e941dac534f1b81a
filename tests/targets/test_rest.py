"""A REST server of restic as a target: one that is append-only, behind TLS, with a wrong login, and down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.errors import DamageError, RefusedError
from dr.plan.target import Target
from dr.run.immutability.posture import look
from dr.targets.kinds import driver_of
from dr.tools.state_dir import StateDir
from scripts.servers.rest import RestServer
from tests.conftest import Site, plan_text
from tests.far import Far
from tests.proxy import busy
from tests.tls import Authority

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def append_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """A server that takes and does not give up."""
    with RestServer(tmp_path_factory.mktemp("append"), "--append-only") as server:
        yield server


def target(server: RestServer, **more: Any) -> Target:
    return Target.model_validate({"target": "far", "rest": {"url": server.url, **server.login, **more}})


def site_on(site: Site, server: RestServer, **more: Any) -> None:
    (site.root / "source").mkdir(exist_ok=True)
    (site.root / "source" / "a.txt").write_text("a\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[far]"))
    rest = {"url": server.url, **server.login, **more}
    site.target("far", yaml.safe_dump({"target": "far", "rest": rest}))


def test_an_append_only_server_is_told_by_the_probe_and_backups_proofs_and_drills_work(
    site: Site, append_only: RestServer
) -> None:
    site_on(site, append_only)
    for _ in range(2):  # the second time the canary of the first is there
        checked = site.dr("target", "check", "far", "--json", code=None).document["targets"][0]
        tried = {each["what"]: each["outcome"] for each in checked["probe"]["attempts"]}
        assert tried == {"overwrite an object": "refused", "delete an object": "refused"}
    site.dr("backup", "share")
    site.dr("verify", "share", "--level", "3")
    assert site.dr("drill", "share", "--json").document["drills"][0]["checks_verdict"] == "passed"
    (site.root / "state" / "catalog.sqlite").unlink()
    site.dr("points", "--rebuild")
    assert len(site.dr("points", "--json").document["points"]) == 1


def test_what_has_a_name_of_its_own_can_be_written_again_where_nothing_can_be_deleted(append_only: RestServer) -> None:
    stores = [driver_of(target(append_only)).open().store.child("_escrow") for _ in range(2)]
    stores[0].put("sis.age", b"one")
    stores[1].put("sis.age", b"two")
    assert [store.get("sis.age") for store in stores] == [b"two", b"two"]
    assert [(item.name, item.size) for item in stores[0].list()] == [("sis.age", 3)]
    with pytest.raises(RefusedError, match="not permitted"):
        stores[0].remove("sis.age")
    assert stores[1].exists("sis.age")


def test_a_name_whose_bytes_were_spoilt_on_the_server_is_not_given_out(rest_server: RestServer, tmp_path: Path) -> None:
    url = f"{rest_server.url}/{tmp_path.name}"
    store = driver_of(target(rest_server, url=url)).open().store.child("_escrow")
    store.put("sis.age", b"x" * 4000)
    (path,) = (rest_server.files / tmp_path.name / "_escrow" / "data").glob("*/*")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"y")
    with pytest.raises(Exception, match="is not what was written"):
        store.get("sis.age")


def test_a_server_that_asks_for_no_login_is_a_grave_finding(tmp_path: Path) -> None:
    with RestServer(tmp_path / "open", "--no-auth") as server:
        found = {each.what: each for each in look(target(server), now=datetime.now(UTC)).findings}
    assert found["access"].severity == "high" and "asks for no login" in found["access"].observed


def test_a_wrong_password_and_a_server_that_is_gone_are_said_and_no_secret_is(
    site: Site, rest_server: RestServer
) -> None:
    (site.root / "wrong").write_text("planted-secret\n")
    (site.root / "wrong").chmod(0o600)
    for changed, code, said in (
        ({"password": {"file": f"{site.root}/wrong"}}, 12, "the target refused the credentials"),
        ({"url": "http://127.0.0.1:9"}, 1, "does not answer"),
    ):
        site_on(site, rest_server, **changed)
        ran = site.dr("backup", "share", code=code)
        assert said in ran.err and "planted" not in ran.err + ran.out, ran.err


def test_a_login_that_is_refused_amid_a_restore_is_told_and_nothing_is_called_damaged(
    site: Site, rest_server: RestServer, tmp_path: Path
) -> None:
    url = f"{rest_server.url}/{tmp_path.name}"
    site_on(site, rest_server, url=url)
    site.dr("backup", "share")
    with busy(rest_server.port) as front:
        site_on(site, rest_server, url=f"{front.endpoint}/{tmp_path.name}")
        for front.status, front.only in ((401, r"GET .*/data/."), (403, r"GET .*/data/."), (401, r"GET .*/index/.")):
            ran = site.dr("drill", "share", code=12)
            assert "refused the credentials" in ran.err and "damaged" not in ran.err, ran.err
        front.only = "none"
        site.dr("drill", "share")


def test_a_certificate_is_trusted_by_its_own_authority_alone_for_restic_and_for_us(site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("127.0.0.1")
    pair = tmp_path / "server.pem"  # key and certificate, as both options of the server take it
    with RestServer(tmp_path / "tls", "--tls", "--tls-cert", str(pair), "--tls-key", str(pair)) as server:
        site_on(site, server)
        assert "is not trusted" in site.dr("backup", "share", code=1).err
        site_on(site, server, ca_file=str(authority.file))
        site.dr("backup", "share")
        assert site.dr("verify", "share", "--json").document["proofs"][0]["outcome"] == "ok"


def test_a_host_with_an_agent_sends_to_it_by_itself(site: Site, rest_server: RestServer, tmp_path: Path) -> None:
    with Far(tmp_path / "far") as far:
        folder = far.user_home / "data"
        folder.mkdir()
        (folder / "a.txt").write_text("a\n" * 1000)
        url = f"{rest_server.url}/{tmp_path.name}"
        site.target("far", yaml.safe_dump({"target": "far", "rest": {"url": url, **rest_server.login}}))
        source = f"docs: {{files: {{paths: [{folder}]}}}}"
        site.plan("share", plan_text("share", source, targets="[far]", more=far.plan_host()))
        site.dr("backup", "share")
        proof = site.dr("verify", "share", "--level", "3", "--json").document["proofs"][0]
        assert (proof["outcome"], proof["level_reached"]) == ("ok", 3)


def test_names_are_read_once_by_all_programs_of_a_state_directory(rest_server: RestServer, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    with busy(rest_server.port) as front:
        place = target(rest_server, url=f"{front.endpoint}/{tmp_path.name}")

        def opened() -> Any:
            front.seen.clear()
            return driver_of(place, state).open().store.child("_evidence/share")

        first = opened()
        for number in range(30):
            first.put(f"{number:04}.json", str(number).encode())
        assert len([each for each in front.seen if each.asked.startswith("GET")]) == 1, "one list, and no head"
        again = opened()
        assert [(item.name, again.get(item.name)) for item in again.list()] == [
            (f"{number:04}.json", str(number).encode()) for number in range(30)
        ]
        assert len(front.seen) == 31, "one list, and each content"
        opened().put("0030.json", b"30")
        assert len(front.seen) == 3, "one list, the folder, the object"
        (kept,) = (state.cache / "names").iterdir()
        kept.write_bytes(b"not a database" * 1000)
        assert [item.size for item in opened().list()] == [1] * 10 + [2] * 21
        assert len(front.seen) == 32, "what was kept is damaged: the heads are read again"
        assert len(list(opened().list())) == 31
        assert len(list(opened().list())) == 31 and len(front.seen) == 1, "and kept again"
        stale = driver_of(place, state).open().store.child("_evidence/share")
        assert {item.name for item in stale.list()} >= {"0003.json"}
        opened().remove("0003.json")
        with pytest.raises(DamageError, match="not there"):
            opened().get("0003.json")
        with pytest.raises(DamageError):
            stale.get("0003.json")
        assert not stale.exists("0003.json")

"""What runs unattended: the line for cron, the units for systemd, the daemon."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import Site, plan_text
from tests.forked import Running
from tests.waiting import LIMIT, soon


@pytest.fixture
def daily(files_site: Site) -> Site:
    """A system with a cadence for everything."""
    more = (
        "cadence: {backup: every 4 hours, verify: every day at 03:00, drill: every 7 days}\n"
        "drill: {checks: [{manifest: {}}]}\n"
    )
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{files_site.root}/source]}}}}", more=more))
    return files_site


def test_the_line_for_cron_does_what_is_due_and_then_says_nothing(daily: Site) -> None:
    line = daily.dr("crontab", "--json").document["line"]
    minute, hour, day, month, weekday, command = line.split(maxsplit=5)
    assert (minute, hour, day, month, weekday) == ("*/15", "*", "*", "*", "*")
    assert line in daily.dr("crontab").out
    command = command.replace(r"\%", "%")
    assert shlex.split(command)[-2:] == ["--quiet", "run"]
    # As cron has it: neither a variable of this shell nor a program that it finds alone.
    cron = {"argv": ["/bin/sh", "-c", command], "env": {"PATH": "/usr/bin:/bin", "HOME": str(daily.root)}}
    for _ in range(2):
        ran = subprocess.run(cron["argv"], env=cron["env"], cwd="/", capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert len(daily.dr("points", "--json").document["points"]) == 1


def test_asking_for_what_is_due_when_nothing_is_does_nothing_and_is_well(daily: Site) -> None:
    daily.dr("run")
    for verb, key in (("backup", "runs"), ("verify", "proofs"), ("drill", "drills")):
        assert daily.dr(verb, "--due", "--json").document[key] == []
        assert daily.dr(verb, "--due").out == "nothing is due\n"


def test_cron_hears_of_a_failure_each_in_a_sentence(daily: Site) -> None:
    shutil.rmtree(daily.root / "source")
    ran = daily.dr("--quiet", "run", code=1)
    assert ran.out == ""
    assert ran.err.startswith("dr: ") and "source" in ran.err


def test_a_percent_sign_in_a_path_does_not_end_the_line_for_cron(site: Site) -> None:
    odd = site.root / "100% ours"
    (odd / "plans").mkdir(parents=True)
    argv = [*site.argv()[:3], "--config", str(odd), "--state", str(site.root / "state"), "crontab"]
    done = subprocess.run(argv, env=site.env, capture_output=True, text=True, check=True)
    line = done.stdout.splitlines()[-1]
    assert r"100\% ours" in line
    assert str(odd) in shlex.split(line.split(maxsplit=5)[5].replace(r"\%", "%"))


def test_the_units_are_what_systemd_understands(daily: Site, tmp_path: Path) -> None:
    units = daily.dr("systemd", "--json").document["units"]
    service, timer, daemon = units["dr.service"], units["dr.timer"], units["dr-daemon.service"]
    assert {"OnCalendar=*:0/15", "Persistent=true", "RandomizedDelaySec=60"} <= set(timer.splitlines())
    assert {"Type=notify", "WatchdogSec=300", "NotifyAccess=main"} <= set(daemon.splitlines())
    for unit, verb in ((service, "run"), (daemon, "daemon")):
        start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
        assert shlex.split(start.removeprefix("ExecStart="))[-1] == verb
        assert "OnFailure=dr-failed@%n.service" in unit, "who watches units hears of it"
        assert "SuccessExitStatus" not in unit, "nor is a missed objective hidden"
    started = [line for line in units["dr-failed@.service"].splitlines() if line.startswith("ExecStart=")]
    assert started[0].startswith("ExecStart=-/"), "a journal that takes no line keeps nobody from being told"
    assert shlex.split(started[1])[-4:] == ["--quiet", "notify", "failed", "%i"]
    shown = daily.dr("systemd").out
    assert all(text in shown and f"# /etc/systemd/system/{name}" in shown for name, text in units.items())
    places = tmp_path / "places"
    places.mkdir()
    assert f"wrote {places}/dr.timer\n" in daily.dr("systemd", "-o", str(places)).out
    assert {path.name: path.read_text() for path in places.iterdir()} == units
    (places / "dr.timer").write_text("# changed by hand\n")
    (places / "dr.service").unlink()
    assert "another unit of this name is there" in daily.dr("systemd", "-o", str(places), code=2).err
    assert not (places / "dr.service").exists(), "none is written"
    if shutil.which("systemd-analyze"):
        for name, text in units.items():
            (tmp_path / name).write_text(re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
        argv = [
            "systemd-analyze",
            "verify",
            "--man=no",
            *(str(tmp_path / name) for name in ("dr.timer", "dr-daemon.service", "dr-failed@dr.service.service")),
        ]
        shutil.copy(tmp_path / "dr-failed@.service", tmp_path / "dr-failed@dr.service.service")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith("dr")], (
            done.stderr
        )


def test_what_the_units_would_not_find_is_named(daily: Site) -> None:
    """They have a /tmp of their own."""
    with TemporaryDirectory(dir="/tmp") as folder:
        shutil.copytree(daily.root / "config", Path(folder, "config"))
        where = [f"--config={folder}/config", f"--state={folder}/state"]
        told = daily.dr("systemd", *where, "--json").document["warnings"]
    warned = [each for each in told if "temporary directory" in each["what"]]
    assert [each["where"] for each in warned] == [f"{folder}/config", f"{folder}/state"], warned
    assert [each["hint"] for each in warned] == ["move them to /etc/dr", "move it to /var/lib/dr"]


def test_the_restic_of_this_shell_is_named_to_what_starts_without_it(daily: Site) -> None:
    odd = daily.root / "my $tools 100%"
    odd.mkdir()
    (odd / "restic").symlink_to(shutil.which(daily.env["DR_RESTIC"]) or "")
    found = {"PATH": f"{odd}:{daily.env['PATH']}", "DR_RESTIC": ""}
    line = daily.dr("crontab", "--json", **found).document["line"]
    assert f"DR_RESTIC='{odd}/restic' ".replace("%", r"\%") in line
    unit = daily.dr("systemd", "--json", **found).document["service"]
    assert f'Environment="DR_RESTIC={odd}/restic"'.replace("%", "%%") in unit.splitlines()
    assert "DR_RESTIC" not in daily.dr("crontab", "--json", PATH="/usr/bin:/bin", DR_RESTIC="").document["line"]


def test_units_that_root_runs_are_not_offered_for_the_state_of_another_in_silence(daily: Site) -> None:
    assert [each for each in daily.dr("systemd", "--json").document["warnings"] if "another user" in each["what"]] == []
    os.chown(daily.root / "state", 65534, -1)
    (warned,) = daily.dr("systemd", "--json").document["warnings"]
    assert "another user" in warned["what"] and "dr crontab" in warned["hint"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
@pytest.mark.parametrize("name", ["dr.service", "dr-daemon.service", "dr-failed@.service"])
def test_the_services_may_do_little_more_than_they_must(daily: Site, tmp_path: Path, name: str) -> None:
    units = daily.dr("systemd", "--json").document["units"]

    def exposure(text: str) -> float:
        (tmp_path / name).write_text(text)
        argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(tmp_path / name)]
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", said)
        assert found, said
        return float(found[1])

    level = exposure(units[name])
    print(f"{name}: exposure {level}")
    assert level <= 4.0
    assert exposure("[Service]\nExecStart=/bin/true\n") > 9, "the negative control"


def test_secrets_that_systemd_holds_are_named_in_the_units_and_read_from_there(daily: Site) -> None:
    path = daily.root / "config" / "plans" / "share.yaml"
    path.write_text(path.read_text() + "secrets: {passphrase: {credential: share-phrase}}\n")
    units = daily.dr("systemd", "--json").document["units"]
    line = f"LoadCredential=share-phrase:{daily.root}/config/secrets/share-phrase"
    assert line in units["dr.service"].splitlines() and line in units["dr-daemon.service"].splitlines()
    refused = daily.dr("backup", "share", code=12)
    assert "systemd gave no credential share-phrase" in refused.err
    given = daily.root / "credentials"
    given.mkdir()
    (given / "share-phrase").write_text("a passphrase of some length\n")
    daily.dr("backup", "share", CREDENTIALS_DIRECTORY=str(given))
    daily.dr("verify", "share", code=12)


def test_an_odd_path_is_one_word_of_the_unit(site: Site) -> None:
    odd = site.root / 'it\'s $HOME 100% "ours" \\ x'
    (odd / "plans").mkdir(parents=True)
    argv = [*site.argv()[:3], "--config", str(odd), "--state", str(site.root / "state"), "systemd", "--json"]
    done = subprocess.run(argv, env=site.env, capture_output=True, text=True, check=True)
    start = next(x for x in json.loads(done.stdout)["service"].splitlines() if x.startswith("ExecStart="))
    said = f'"{site.root}/it\'s $$HOME 100%% \\"ours\\" \\\\ x"'
    assert f" --config {said} --state" in start


class Heard:
    """What a daemon says on stderr, while it runs."""

    def __init__(self, daemon: Running) -> None:
        self.daemon, self.lines = daemon, list[str]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.daemon.stderr is not None
        self.lines.extend(self.daemon.stderr)

    def looks(self, number: int) -> None:
        """Wait until it has looked so many times more."""
        wanted = self._seen() + number
        assert soon(lambda: self._seen() >= wanted or self.daemon.poll() is not None)

    def _seen(self) -> int:
        return sum("looking at what is due" in line for line in list(self.lines))

    def all(self) -> str:
        """Return all of it, once it has ended."""
        self._reader.join()
        return "".join(self.lines)


def _points(site: Site) -> int:
    return len(site.dr("points", "--json").document["points"])


def test_the_daemon_does_what_is_due_takes_up_new_plans_and_ends_cleanly_on_sigterm(daily: Site) -> None:
    daemon = daily.start("-v", "daemon", "--every", "1")
    said = Heard(daemon)
    try:
        assert soon(lambda: _points(daily) == 1)
        text = (daily.root / "config" / "plans" / "share.yaml").read_text()
        daily.plan("second", text.replace("system: share", "system: second"))
        assert soon(lambda: _points(daily) == 2), "plans are read again"
        assert soon(lambda: all(row["last_drill"] for row in daily.dr("status", "--json").document["systems"]))
        daily.plan("second", "system: [typo")
        said.looks(3)
        assert daemon.poll() is None, "a faulty plan is said, and the daemon stays"
        daily.plan("second", text.replace("system: share", "system: second"))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=LIMIT)
    finally:
        daemon.kill()
    assert daemon.returncode == 0 and daemon.stdout is not None
    out, err = daemon.stdout.read(), said.all()
    assert "stopped" in out and "Traceback" not in err
    assert err.count("second.yaml:") == 1, "what stays wrong is said once"
    assert _points(daily) == 2, "each done once"
    assert daily.dr("audit", "--json").document["outcome"] == "ok"


#: The daemon, in a process whose local time goes back by ten hours when it is told to.
_CLOCK_SET_BACK = """
import os, signal, sys, time
def set_back(*_):
    os.environ["TZ"] = "EARLIER+5"
    time.tzset()
signal.signal(signal.SIGUSR1, set_back)
from dr.cli.main import main
sys.exit(main())
"""


def test_the_daemon_goes_on_when_local_time_goes_back(daily: Site) -> None:
    options = daily.argv("daemon", "--every", "1")[3:]
    env = {**daily.env, "TZ": "LATER-5"}
    daemon = subprocess.Popen([sys.executable, "-c", _CLOCK_SET_BACK, *options], env=env, stderr=subprocess.DEVNULL)
    try:
        assert soon(lambda: _points(daily) == 1)
        assert soon(lambda: all(row["last_drill"] for row in daily.dr("status", "--json").document["systems"]))
        daemon.send_signal(signal.SIGUSR1)
        text = (daily.root / "config" / "plans" / "share.yaml").read_text()
        daily.plan("second", text.replace("system: share", "system: second"))
        assert soon(lambda: _points(daily) == 2), "it looks again, whatever the time of day"
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=LIMIT) == 0
    finally:
        daemon.kill()


def test_the_daemon_outlives_a_state_that_cannot_be_used_and_says_so_once(daily: Site) -> None:
    state = daily.root / "state"
    shutil.rmtree(state)
    state.write_text("a file where a directory should be")
    daemon = daily.start("-v", "daemon", "--every", "1")
    said = Heard(daemon)
    try:
        said.looks(3)
        assert daemon.poll() is None
        state.unlink()
        assert soon(lambda: _points(daily) == 1), "the world was fixed, and it goes on"
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=LIMIT)
    finally:
        daemon.kill()
    err = said.all()
    assert daemon.returncode == 0 and "Traceback" not in err
    assert err.lower().count("a directory") + err.lower().count("file exists") == 1


def test_a_daemon_stopped_in_mid_backup_leaves_nothing_half(daily: Site) -> None:
    slow = "slow: {command: {run: [sh, -c, 'echo x; sleep 60'], filename: x}}"
    daily.plan("share", plan_text("share", slow, more="cadence: {backup: every 4 hours}\n"))
    daemon = daily.start("daemon")
    assert soon(lambda: any((daily.root / "state" / "work").glob("*/*")))
    daemon.send_signal(signal.SIGTERM)
    _out, err = daemon.communicate(timeout=LIMIT)
    assert daemon.returncode == 0 and "Traceback" not in err
    assert _points(daily) == 0
    for name in ("disk", "vault"):
        folder = daily.root / name / "share" / "snapshots"
        assert not folder.is_dir() or os.listdir(folder) == []

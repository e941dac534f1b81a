"""How the benches measure: whole commands, interleaved, medians; and the sites they measure on."""

from __future__ import annotations

import atexit
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dr.tools.restic_program import find_restic

Env = Mapping[str, str]


@atexit.register
def _on_what() -> None:
    """Say at the end of each bench what decides its figures: the processor, and the memory of the largest program."""
    flags = Path("/proc/cpuinfo").read_text("utf-8").split()
    sha = "with" if "sha_ni" in flags or "sha2" in flags else "without"
    own, others = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"on {os.cpu_count()} processors {sha} SHA instructions; peak memory {own:.0f} MB here, {others:.0f} MB in the "
        f"largest program; {spent.ru_utime + spent.ru_stime:.0f} CPU s in all programs",
        flush=True,
    )


def interleaved(repetitions: int, **acts: Callable[[], object]) -> dict[str, float]:
    """Do each act in turn, so many times; return the median seconds of each. An act may return its own seconds."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(repetitions):
        for name, act in acts.items():
            began = time.monotonic()
            own = act()
            times[name].append(own if isinstance(own, float) else time.monotonic() - began)
    return {name: statistics.median(found) for name, found in times.items()}


def interleaved_best(repetitions: int, **acts: Callable[[], float]) -> dict[str, float]:
    """Do each act in turn, so many times, the other way round every second time; return the least that each said.

    For processor seconds: whatever else the machine does only adds to them.
    """
    best = dict.fromkeys(acts, float("inf"))
    for turn in range(repetitions):
        for name, act in list(acts.items())[:: -1 if turn % 2 else 1]:
            best[name] = min(best[name], act())
    return best


def costs(repetitions: int, servers: Sequence[Path], **acts: Callable[[], object]) -> dict[str, tuple[float, float]]:
    """Do each act in turn, so many times; return the median seconds of each by the clock, and of processors.

    `servers` are files that hold the ids of servers: what these and their programs spend meanwhile counts, too.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in acts}
    for _ in range(repetitions):
        for name, act in acts.items():
            began, spent = time.monotonic(), _spent(servers)
            own = act()
            took = own if isinstance(own, float) else time.monotonic() - began
            found[name].append((took, _spent(servers) - spent))
    return {
        name: (statistics.median(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def _spent(servers: Sequence[Path]) -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for server in servers:
        number = server.read_text("utf-8").split()[0]
        words = Path(f"/proc/{number}/stat").read_text("utf-8").rpartition(")")[2].split()
        spent += sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return spent


def say_costs(title: str, ours: tuple[float, float], theirs: tuple[float, float], goal: str) -> None:
    """Print two ratios: of the clock and of processors."""
    print(
        f"{title}: {ours[0] / theirs[0]:.2f} by the clock, {ours[1] / theirs[1]:.2f} by processors (goal {goal}); "
        f"{ours[0]:.2f} s / {theirs[0]:.2f} s, {ours[1]:.2f} CPU s / {theirs[1]:.2f} CPU s",
        flush=True,
    )


def say(title: str, ours: float, theirs: float, goal: str) -> None:
    """Print one ratio."""
    print(f"{title}: {ours / theirs:.2f} (goal {goal}); {ours:.3f} s / {theirs:.3f} s", flush=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one bench, removed after it."""
    with tempfile.TemporaryDirectory(prefix="bench-dr-") as folder:
        yield Path(folder)


def environment(home: Path) -> dict[str, str]:
    """What the measured programs see: one restic for all, and nothing of this session."""
    own = Path(__file__).parents[2]
    return {"PATH": os.environ["PATH"], "HOME": str(home), "DR_RESTIC": find_restic(os.environ), "PYTHONPATH": str(own)}


def dr(home: Path, *arguments: str, code: int = 0) -> str:
    """Run the program as typed; return its stdout."""
    argv = [sys.executable, "-m", "dr", "--config", str(home / "config"), "--state", str(home / "state"), *arguments]
    done = subprocess.run(argv, env=environment(home), cwd=home, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"dr {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


class Used(NamedTuple):
    """What a program used: processor seconds with those it ran, and by itself, the MB it held at most; bytes added."""

    seconds: float
    own: float
    peak: int
    added: int = 0


def dr_used(home: Path, *arguments: str) -> Used:
    """Run the program as typed; return what it used."""
    argv = [sys.executable, "-m", "dr", "--config", str(home / "config"), "--state", str(home / "state"), *arguments]
    return _used(argv, environment(home), home)[0]


def restic_used(home: Path, *arguments: str, cwd: Path | None = None) -> Used:
    """Run plain restic on a repository of its own; return what it used, and what a backup added."""
    env = environment(home) | {"RESTIC_REPOSITORY": str(home / "plain"), "RESTIC_PASSWORD": "plain"}
    env |= {"RESTIC_CACHE_DIR": str(home / "cache-plain")}
    used, out = _used([env["DR_RESTIC"], "--json", *arguments], env, cwd or home)
    last = json.loads(out.splitlines()[-1])
    return used._replace(added=last.get("data_added_packed", 0))


def _used(argv: list[str], env: Env, cwd: Path) -> tuple[Used, str]:
    own, peak = 0.0, 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(argv, env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            with suppress(OSError, IndexError, ValueError):
                stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                own = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}: {said}")
    return Used(ended[2].ru_utime + ended[2].ru_stime, own, peak), said


def restic(home: Path, repository: str, *arguments: str, env: Env | None = None, cache: str = "plain") -> None:
    """Run plain restic, with a cache of its own."""
    whole = environment(home) | dict(env or {})
    whole |= {"RESTIC_REPOSITORY": repository, "RESTIC_CACHE_DIR": str(home / f"cache-{cache}")}
    whole.setdefault("RESTIC_PASSWORD", "plain")
    done = subprocess.run([whole["DR_RESTIC"], *arguments], env=whole, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"restic {arguments[0]} ended with {done.returncode}: {done.stderr}")


def make_files(top: Path, sizes: list[int], *, seed: int = 1) -> None:
    """Files of these sizes, in 40 folders."""
    rng = random.Random(seed)
    for number, size in enumerate(sizes):
        folder = top / f"{number % 40:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.bin").write_bytes(rng.randbytes(size))


def make_plan(home: Path, system: str, source: str, *, targets: str = "[disk]") -> None:
    """A plan with one source."""
    folder = home / "config" / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{system}.yaml").write_text(
        f"system: {system}\nobjectives: {{rto: 2h, rpo: 4h}}\nsources:\n  data: {source}\ntargets: {targets}\n"
        "drill: {checks: [{manifest: {}}]}\n"
    )


def make_disk(home: Path) -> None:
    """The local target."""
    (home / "config" / "targets").mkdir(parents=True, exist_ok=True)
    (home / "config" / "targets" / "disk.yaml").write_text(f"target: disk\nlocal: {{path: {home}/disk}}\n")


def make_offsite(home: Path, endpoint: str, bucket: str, access: str, secret: str) -> dict[str, str]:
    """The S3 target; return the environment that plain restic needs for it."""
    (home / "config" / "targets").mkdir(parents=True, exist_ok=True)
    keys = home / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    where = f"endpoint: '{endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    (home / "config" / "targets" / "offsite.yaml").write_text(f"target: offsite\ns3: {{{where}}}\n")
    return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}

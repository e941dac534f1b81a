"""`dr replicate` against `restic copy` and `rclone sync`: on one service (it copies itself), and between two.

Whole commands, from nothing at the destination each time, of a repository that `dr verify` has proven, as `dr run`
does before it replicates. `dr replicate` hashes every object: on its way, or, where the service copies it, where it came
to lie; `rclone sync` compares sizes and times, and what lies there is
known to be the same only after `rclone check --download`, which is the last comparison.
Run: `python tests/bench/bench_replicate.py`.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.servers.s3 import S3Server
from tests.bench.measure import costs, dr, environment, make_files, restic, say_costs, scratch

REPETITIONS = 2


def target(home: Path, name: str, server: S3Server, bucket: str) -> None:
    """Write a target's file."""
    keys = server.write_keys(home / f"keys-{name}")
    (home / "config" / "targets").mkdir(parents=True, exist_ok=True)
    where = f"endpoint: '{server.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    (home / "config" / "targets" / f"{name}.yaml").write_text(f"target: {name}\ns3: {{{where}}}\n")


def plan(home: Path, replica: str) -> None:
    """Write the plan, with a replica."""
    path = home / "config" / "plans" / "files.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"system: files\nobjectives: {{rto: 2h, rpo: 4h}}\ntargets: [first]\nreplicas: [{replica}]\n"
        f"sources: {{data: {{files: {{paths: [{home}/source]}}}}}}\ndrill: {{checks: [{{manifest: {{}}}}]}}\n"
    )


def rclone(home: Path, remotes: dict[str, S3Server], *arguments: str) -> None:
    """Run rclone, set up by its environment."""
    beside = Path(sys.executable).parent / "rclone"
    program = str(beside) if beside.exists() else shutil.which("rclone") or "rclone"
    env = environment(home) | {"RCLONE_CONFIG": "/dev/null"}
    for name, server in remotes.items():
        env |= {
            f"RCLONE_CONFIG_{name}_TYPE": "s3",
            f"RCLONE_CONFIG_{name}_PROVIDER": "SeaweedFS",
            f"RCLONE_CONFIG_{name}_ENDPOINT": server.endpoint,
            f"RCLONE_CONFIG_{name}_ACCESS_KEY_ID": server.access_key,
            f"RCLONE_CONFIG_{name}_SECRET_ACCESS_KEY": server.secret_key,
            f"RCLONE_CONFIG_{name}_REGION": "us-east-1",
        }
    done = subprocess.run([program, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def measure(home: Path, one: S3Server, two: S3Server, title: str) -> None:
    """Copy the repository in bucket `first` of `one` to fresh buckets of `two`, each way."""
    numbers = itertools.count()
    phrase = next((home / "state" / "secrets").iterdir())
    source = f"s3:{one.endpoint}/first/files"

    def fresh() -> str:
        name = f"to-{next(numbers)}"
        two.client().create_bucket(Bucket=name)
        return name

    waiting = {name: [fresh() for _ in range(REPETITIONS)] for name in ("ours", "restic", "rclone", "proven")}
    keys = {"AWS_ACCESS_KEY_ID": two.access_key, "AWS_SECRET_ACCESS_KEY": two.secret_key}
    both = keys | {"RESTIC_FROM_REPOSITORY": source, "RESTIC_FROM_PASSWORD_FILE": str(phrase)}
    for bucket in waiting["restic"]:
        restic(home, f"s3:{two.endpoint}/{bucket}/files", "init", "--copy-chunker-params", env=both)

    def ours() -> None:
        bucket = waiting["ours"].pop()
        replica = f"replica-{bucket}-{'one' if one is two else 'two'}"  # never seen: it may be empty
        target(home, replica, two, bucket)
        plan(home, replica)
        dr(home, "replicate", "files")

    def by_restic() -> None:
        restic(home, f"s3:{two.endpoint}/{waiting['restic'].pop()}/files", "copy", env=both)

    def by_rclone() -> None:
        to = "ONE" if one is two else "TWO"
        rclone(home, {"ONE": one, "TWO": two}, "sync", "ONE:first/files", f"{to}:{waiting['rclone'].pop()}/files")

    def by_rclone_proven() -> None:
        to = f"{'ONE' if one is two else 'TWO'}:{waiting['proven'].pop()}/files"
        rclone(home, {"ONE": one, "TWO": two}, "sync", "ONE:first/files", to)
        rclone(home, {"ONE": one, "TWO": two}, "check", "--download", "ONE:first/files", to)

    servers = list(dict.fromkeys((one.pid_file, two.pid_file)))
    acts = {"ours": ours, "restic": by_restic, "rclone": by_rclone, "proven": by_rclone_proven}
    found = costs(REPETITIONS, servers, **acts)
    say_costs(f"dr replicate / restic copy, {title}", found["ours"], found["restic"], "0.36; between two services 0.50")
    say_costs(f"dr replicate / rclone sync, {title}", found["ours"], found["rclone"], "none: it proves nothing")
    say_costs(
        f"dr replicate / rclone sync and check --download, {title}",
        found["ours"],
        found["proven"],
        "1.25; between two services 1.1",
    )


def run(home: Path, one: S3Server, two: S3Server) -> None:
    """Make a repository, and measure."""
    one.client().create_bucket(Bucket="first")
    one.client().create_bucket(Bucket="unused")
    target(home, "first", one, "first")
    target(home, "unused", one, "unused")
    plan(home, "unused")
    make_files(home / "source", [4_000_000] * 240 + [500_000] * 240)
    dr(home, "backup", "files")
    dr(home, "verify", "files")
    measure(home, one, one, "1 GB on one service")
    measure(home, one, two, "1 GB between two services")


def main() -> None:
    """Measure."""
    with scratch() as home:
        one, two = S3Server(home / "s3"), S3Server(home / "other")
        two.access_key, two.secret_key = one.access_key, one.secret_key  # restic takes one pair of keys at a time
        with one, two:
            run(home, one, two)


if __name__ == "__main__":
    main()

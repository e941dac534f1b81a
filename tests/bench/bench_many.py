"""Twenty small systems: `dr backup --all` against a serial loop of plain restic; one point each is there already.

Run: `python tests/bench/bench_many.py`.
"""

from __future__ import annotations

from pathlib import Path

from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, interleaved, make_disk, make_files, make_offsite, make_plan, restic, say, scratch

SYSTEMS = [f"system-{number:02d}" for number in range(20)]


def measure(home: Path, title: str, target: str, places: str, env: dict[str, str]) -> None:
    """One kind of target."""
    for number, system in enumerate(SYSTEMS):
        make_files(home / "sources" / system, [40_000] * 50, seed=number)
        make_plan(home, system, f"{{files: {{paths: [{home}/sources/{system}]}}}}", targets=f"[{target}]")
        restic(home, f"{places}/plain-{system}", "init", env=env)
        restic(home, f"{places}/plain-{system}", "backup", str(home / "sources" / system), env=env)
    dr(home, "backup", "--all")

    def change() -> None:
        for number, system in enumerate(SYSTEMS):
            make_files(home / "sources" / system / "new", [40_000] * 5, seed=number + 100)

    def plain() -> None:
        for system in SYSTEMS:
            restic(home, f"{places}/plain-{system}", "backup", str(home / "sources" / system), env=env)

    change()
    found = interleaved(3, ours=lambda: dr(home, "backup", "--all"), plain=plain)
    say(f"dr backup --all / serial restic, 20 systems, {title}", found["ours"], found["plain"], "0.55")


def main() -> None:
    """Measure on a disk and over S3."""
    with scratch() as home:
        make_disk(home)
        measure(home, "disk", "disk", str(home), {})
    with scratch() as home, S3Server(home / "s3") as server:
        server.client().create_bucket(Bucket="bench")
        env = make_offsite(home, server.endpoint, "bench", server.access_key, server.secret_key)
        measure(home, "s3", "offsite", f"s3:{server.endpoint}/bench", env)


if __name__ == "__main__":
    main()

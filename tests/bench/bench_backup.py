"""`dr backup` against plain `restic backup` of the same tree to the same kind of place: first, and unchanged.

Plain restic makes its repository beforehand, untimed for `unchanged`; for `first` both make it. Run:
`python tests/bench/bench_backup.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, interleaved, make_disk, make_files, make_offsite, make_plan, restic, say, scratch


def first(home: Path) -> None:
    """Nothing is there before, for either."""

    def plain() -> None:
        shutil.rmtree(home / "plain", ignore_errors=True)
        shutil.rmtree(home / "cache-plain", ignore_errors=True)
        restic(home, str(home / "plain"), "init")
        restic(home, str(home / "plain"), "backup", str(home / "source"))

    def ours() -> None:
        shutil.rmtree(home / "disk", ignore_errors=True)
        shutil.rmtree(home / "state", ignore_errors=True)
        dr(home, "backup", "files")

    found = interleaved(5, ours=ours, plain=plain)
    say("dr backup / restic backup, first, 600 MB to a disk", found["ours"], found["plain"], "1.05")


def unchanged(home: Path, title: str, place: str, env: dict[str, str]) -> None:
    """Both have a point of the same tree already."""
    found = interleaved(
        7,
        ours=lambda: dr(home, "backup", "files"),
        plain=lambda: restic(home, place, "backup", str(home / "source"), env=env, cache=title),
    )
    more = found["ours"] - found["plain"]
    print(f"dr backup - restic backup, unchanged, {title}: {more:+.2f} s (goal +0.4 s); "
          f"{found['ours']:.3f} s, {found['plain']:.3f} s", flush=True)  # fmt: skip


def main() -> None:
    """Measure all."""
    with scratch() as home:
        make_files(home / "source", [20_000_000] * 10 + [1_500_000] * 200 + [60_000] * 1500 + [2_000] * 5_000)
        make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}")
        make_disk(home)
        first(home)
        unchanged(home, "disk", str(home / "plain"), {})
    with scratch() as home, S3Server(home / "s3") as server:
        server.client().create_bucket(Bucket="bench")
        env = make_offsite(home, server.endpoint, "bench", server.access_key, server.secret_key)
        make_files(home / "source", [60_000] * 500)
        make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}", targets="[offsite]")
        place = f"s3:{server.endpoint}/bench/plain"
        restic(home, place, "init", env=env, cache="s3")
        restic(home, place, "backup", str(home / "source"), env=env, cache="s3")
        dr(home, "backup", "files")
        unchanged(home, "s3", place, env)


if __name__ == "__main__":
    main()

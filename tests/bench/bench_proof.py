"""Level-2 proof (every stored byte hashed, without the passphrase) against `restic check --read-data`, over S3.

Both read the whole repository each time: restic without its cache's help, ours without what it knew before.
Run: `python tests/bench/bench_proof.py`.
"""

from __future__ import annotations

from pathlib import Path

from scripts.s3_server import S3Server
from tests.bench.measure import dr, interleaved, make_files, make_offsite, make_plan, restic, say, scratch


def main() -> None:
    """Measure."""
    with scratch() as home, S3Server(home / "s3") as server:
        server.client().create_bucket(Bucket="bench")
        env = make_offsite(home, server.endpoint, "bench", server.access_key, server.secret_key)
        make_files(home / "source", [8_000_000] * 100 + [1_000_000] * 200)
        make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}", targets="[offsite]")
        dr(home, "backup", "files")
        phrase = next(Path(home / "state" / "secrets").iterdir())
        plain = env | {"RESTIC_PASSWORD_FILE": str(phrase), "RESTIC_PASSWORD": ""}
        place = f"s3:{server.endpoint}/bench/files"
        found = interleaved(
            3,
            ours=lambda: dr(home, "verify", "files", "--level", "2"),
            plain=lambda: restic(home, place, "check", "--read-data", env=plain),
        )
        say("dr verify --level 2 / restic check --read-data, 1 GB over S3", found["ours"], found["plain"], "0.2")


if __name__ == "__main__":
    main()

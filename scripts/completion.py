"""Write what bash, zsh and fish read to complete `dr` into build/completion: click makes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from dr.cli.main import program
from dr.cli.shells import SCRIPTS, script

BUILD = Path(__file__).parents[1] / "build"


def main() -> None:
    """Write each shell's file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "completion")
    where = parser.parse_args().output
    where.mkdir(parents=True, exist_ok=True)
    for shell, (_, name) in SCRIPTS.items():
        (where / name).write_text(script(shell, program), "utf-8")


if __name__ == "__main__":
    main()

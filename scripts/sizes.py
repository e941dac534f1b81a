"""Print the ten longest files and functions. Advice, never a gate."""

from __future__ import annotations

import ast
from pathlib import Path

ROOMS = ("dr", "scripts", "tests")


def measure() -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return files and functions, each with its length in lines, longest first."""
    files: list[tuple[int, str]] = []
    functions: list[tuple[int, str]] = []
    for path in (path for room in ROOMS for path in Path(room).rglob("*.py")):
        text = path.read_text("utf-8")
        files.append((len(text.splitlines()), str(path)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(
                    ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
                )
    return sorted(files, reverse=True), sorted(functions, reverse=True)


def main() -> None:
    """Print them."""
    for title, items in zip(("files", "functions"), measure(), strict=True):
        print(f"longest {title}")
        for lines, name in items[:10]:
            print(f"  {lines:4d}  {name}")


if __name__ == "__main__":
    main()

"""Print the ten longest files and functions. Advice, never a gate."""

from __future__ import annotations

import ast
from pathlib import Path


def main() -> None:
    """Print them."""
    files, functions = [], []
    for path in sorted(Path("dr").rglob("*.py")):
        text = path.read_text("utf-8")
        files.append((len(text.splitlines()), str(path)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, f"{path}:{node.lineno} {node.name}"))
    for title, items in (("files", files), ("functions", functions)):
        print(f"longest {title}")
        for lines, name in sorted(items, reverse=True)[:10]:
            print(f"  {lines:4d}  {name}")


if __name__ == "__main__":
    main()

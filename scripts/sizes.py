"""Print the measures of the house: the longest files and functions, and what a reader has to hold in mind at once.

Most are held by tests/test_house.py, which asks them here.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dr.tools.restic_program import find_restic

ROOMS = ("dr", "scripts", "tests")
ROOT = Path(__file__).resolve().parents[1]
#: Says which modules a command has loaded.
_LOADED = """
import sys
from dr.cli.main import main
try:
    main(["--config", sys.argv[1], "--state", sys.argv[1] + "/state", sys.argv[2]])
except SystemExit:
    pass
print("loaded", *sys.modules)
"""
_DECLARED = {
    "plans/sis.yaml": "system: sis\nobjectives: {rto: 1h, rpo: 4h}\nsources: {a: {files: {paths: [%s]}}}\n"
    "targets: [disk]\ndrill: {checks: [manifest, {file: {source: a, path: '*.txt'}}]}\n",
    "targets/disk.yaml": "target: disk\nlocal: {path: %s}\n",
}
#: Says of which files of ours code runs while a command does its work; what runs as a module is imported is no work.
_WORK = """
import sys, threading
from dr.cli.main import main
found, importing, root = set(), threading.local(), sys.argv[1]
def note(frame, event, argument):
    code = frame.f_code
    if event not in ("call", "return"):
        return
    if code.co_name == "<module>":
        importing.depth = getattr(importing, "depth", 0) + (1 if event == "call" else -1)
    elif event == "call" and not getattr(importing, "depth", 0):
        found.add(code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
try:
    main(sys.argv[2:])
except SystemExit as ended:
    code = ended.code
sys.setprofile(None)
print("worked", code or 0, *sorted(name[len(root) + 1 :] for name in found if name.startswith(root + "/dr/")))
"""


@functools.cache
def nodes_of(text: str) -> tuple[ast.AST, ...]:
    """Return all that the text of a module consists of, the module first; parsed once, whoever asks again."""
    return tuple(ast.walk(ast.parse(text)))


def measure() -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return files and functions, each with its length in lines, longest first."""
    files: list[tuple[int, str]] = []
    functions: list[tuple[int, str]] = []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        text, name = path.read_text("utf-8"), path.relative_to(ROOT)
        files.append((len(text.splitlines()), str(name)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                functions.append((length, f"{name}:{node.lineno} {node.name}"))
    return sorted(files, reverse=True), sorted(functions, reverse=True)


@functools.cache
def fan_out() -> list[tuple[int, str]]:
    """Return each module of ours with the number of others of ours that it imports, the most first.

    The decorator that stands for that of the standard library is nothing to hold in mind.
    """
    counted = ((len(set(_imports(path)) - {"dr.late_dataclass"}), _name(path)) for path in _modules("dr"))
    return sorted(counted, reverse=True)


#: What is asked of a drill or a recovery, and what it knows of itself while it is at work.
_OF_A_DRILL = re.compile(
    "system|scenario|at|point|target|to|t_loss|clock|drill_id|run_id|keep|kit|shares|scratch|force|replaced|replace|"
    "accepted|as_files|lacks|real|travel|noticed|assumed|typed|again|token|root|copy|place|checks|instances|restored"
)
#: A class that holds so many of them is a form of the same data.
_A_FORM = 4


def forms_of_a_drill() -> list[str]:
    """Return the classes that hold one drill: asked for, at work, foreseen, on disk, and on record."""
    rooms = ("cli", "operations", "queries", "run", "evidence", "sources", "report")
    classes = [
        (_name(path), node)
        for room in rooms
        for path in _modules(f"dr/{room}")
        for node in _top(path)
        if isinstance(node, ast.ClassDef)
    ]
    return [
        f"{name}.{node.name}"
        for name, node in classes
        if sum(map(bool, map(_OF_A_DRILL.fullmatch, _fields(node)))) >= _A_FORM
    ]


def _fields(node: ast.ClassDef) -> set[str]:
    """Return the names that a class declares with their types."""
    declared = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
    return {target.id for target in declared if isinstance(target, ast.Name)}


def class_names_twice() -> dict[str, list[str]]:
    """Return the names of classes that stand more than once in what is done, each with its modules."""
    found: dict[str, list[str]] = {}
    for path in [*_modules("dr/run"), *_modules("dr/operations")]:
        for node in _top(path):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(_name(path))
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def untyped_per_thousand() -> float:
    """Return how many lines in 1,000 of the command line say `Any`."""
    lines = [line for path in _modules("dr/cli") for line in path.read_text("utf-8").splitlines()]
    return 1000 * sum(bool(re.search(r"\bAny\b", line)) and "import" not in line for line in lines) / len(lines)


def loaded_by_the_board() -> set[str]:
    """Return the modules of ours that `dr status` loads, of a system that is in no catalog yet."""
    with tempfile.TemporaryDirectory() as folder:
        declare(Path(folder))
        return {name for name in loaded_by(Path(folder), "status") if name.split(".")[0] == "dr"}


def loaded_by(folder: Path, verb: str) -> set[str]:
    """Return the modules that a command loads which works with what `declare` wrote."""
    argv = [sys.executable, "-c", _LOADED, str(folder), verb]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def files_of_a_drill() -> list[str]:
    """Return the files of ours whose code runs in an everyday `dr drill`: a folder, its manifest and a file check."""
    with tempfile.TemporaryDirectory() as folder:
        declare(Path(folder))
        options = ["--config", folder, "--state", f"{folder}/state"]
        env = {**os.environ, "DR_RESTIC": find_restic(os.environ)}
        for verb in ("backup", "drill"):
            argv = [sys.executable, "-c", _WORK, str(ROOT), *options, verb, "sis"]
            done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        _, code, *files = done.stdout.splitlines()[-1].split()
    if code != "0":
        raise RuntimeError(f"the drill ended with {code}: {done.stdout}{done.stderr}")
    return files


def declare(folder: Path, *, cadence: str = "") -> None:
    """Write a plan of a folder with a few files, and a target beside it."""
    (folder / "data").mkdir()
    for number in range(3):
        (folder / "data" / f"{number}.txt").write_text(f"{number}\n" * 100)
    for name, text in _DECLARED.items():
        path = folder / name
        path.parent.mkdir()
        path.write_text(
            text % (folder / ("data" if "plan" in name else "copies")) + (cadence if "plan" in name else "")
        )


def _modules(below: str) -> list[Path]:
    return sorted((ROOT / below).rglob("*.py"))


def _top(path: Path) -> list[ast.stmt]:
    """Return the statements of a module that stand in no other."""
    first = nodes_of(path.read_text("utf-8"))[0]
    return first.body if isinstance(first, ast.Module) else []


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imports(path: Path) -> Iterator[str]:
    for node in nodes_of(path.read_text("utf-8")):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dr."):
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                yield whole if (ROOT / whole.replace(".", "/")).with_suffix(".py").exists() else str(node.module)


def main() -> None:
    """Print them."""
    files, functions = measure()
    widest = ("widest imports (15 at most)", fan_out())
    for title, items in (("longest files", files), ("longest functions", functions), widest):
        print(title)
        for count, name in items[:10]:
            print(f"  {count:4d}  {name}")
    print(f"modules that `dr status` loads: {len(loaded_by_the_board())} (100 at most)")
    print(f"files whose code an everyday drill runs: {len(files_of_a_drill())} (wanted: 55)")
    print(f"forms of one drill: {len(forms_of_a_drill())} (6 at most)")
    print(f"lines of the command line that say Any: {untyped_per_thousand():.1f} in 1,000 (5 at most)")
    print(f"class names that stand twice in what is done: {len(class_names_twice())} (none)")


if __name__ == "__main__":
    main()

"""The house's own laws, each shown to bite: a tree that breaks it must be found."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The functions that `make sizes` prints.
SIZES = runpy.run_path(str(ROOT / "scripts" / "sizes.py"))
#: All that a module's text consists of, itself first: parsed once for all laws, and for all copies.
nodes_of: Callable[[str], tuple[ast.AST, ...]] = SIZES["nodes_of"]
LONGEST_MODULE = 450
#: 124 have been reached, and 55 are wanted: the rest is for what is at work at the same time. Lower it, never raise it.
FILES_OF_A_DRILL = 130
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

#: What only these files may import. Where a name ends in "/", the whole room.
OWNERS = {
    "subprocess": ("dr/tools/command.py",),
    "tenacity": ("dr/tools/retry.py",),
    "boto3": tuple(f"dr/tools/s3{part}.py" for part in ("", "_bucket", "_client", "_tries", "_versions")),
    "botocore": tuple(
        f"dr/tools/s3{part}.py" for part in ("", "_bucket", "_client", "_listing", "_posture", "_tries", "_versions")
    ),
    "obstore": ("dr/tools/s3_quick.py",),
    "paramiko": tuple(f"dr/tools/ssh{part}.py" for part in ("", "_keys", "_line", "_process", "_wire")),
    "yaml": ("dr/plan/document.py",),
    "sqlite3": (
        "dr/catalog/",
        "dr/sources/sqlite.py",
        "dr/sources/sqlite_beginning.py",
        "dr/sources/sqlite_tables.py",
        "dr/tools/rest_names.py",
    ),
    "jinja2": ("dr/report/html.py",),
    "schedule": ("dr/cli/daemon.py",),
    "pyrage": ("dr/tools/age.py",),
    "shamir_mnemonic": ("dr/tools/shares.py",),
    "reportlab": ("dr/report/pdf.py",),
    "smtplib": ("dr/notify/mail.py",),
    "apprise": ("dr/notify/url.py",),
    "textual": ("dr/cli/browser/",),
    "prometheus_client": ("dr/report/metrics.py",),
}
#: Kinds of target, and the stores that their drivers open.
TARGET_KINDS = {"s3", "local", "sftp", "rest", "rclone"}
STORES = {
    "S3Store",
    "DiskStore",
    "SftpStore",
    "RestStore",
    "RcloneStore",
    "S3Place",
    "LocalPlace",
    "SftpPlace",
    "RestPlace",
}
#: Slow to import: inside the function that uses them, so that `dr --help` stays quick.
#: Modules that are themselves loaded only where their library is needed.
LATE = {
    "dr/cli/live.py": {"rich"},
    "dr/tools/s3_listing.py": {"botocore"},
    **{f"dr/cli/browser/{name}.py": {"rich", "textual"} for name in ("app", "dialogs", "tree")},
}
HEAVY = {
    "boto3",
    "botocore",
    "obstore",
    "jinja2",
    "rich",
    "tenacity",
    "paramiko",
    "reportlab",
    "shamir_mnemonic",
    "prometheus_client",
    "textual",
}

#: Errors that need no hint, each with its reason.
NO_HINT = {
    "no point was chosen": "a mistake in the program, not of the reader",
    "the source failed": "replaced by the source's own error, which has the hint",
    "the stream to restic broke": "restic's own error follows and has the hint",
}
#: Tests that sleep, or hold a time against a limit, each with its reason.
HASTY = {
    "tests/chaos/interruptions.py": "strikes at moments left to chance",
    "tests/proxy.py": "a network that takes its time",
    "tests/faults/test_killed.py": "kills at moments left to chance",
    "tests/faults/test_replicate_killed.py": "kills at moments left to chance",
    "tests/e2e/test_replicate.py": "kills at moments left to chance",
    "tests/e2e/test_far_drill.py": "looks again and again until it is over",
    "tests/e2e/test_kit.py": "kills at moments left to chance",
    "tests/faults/test_targets.py": "a service goes away in the midst of a run; restic alone would try for 15 minutes",
    "tests/e2e/test_keys.py": "services tell times to the second",
    "tests/e2e/bucket.py": "services tell times to the second",
    "tests/cli/test_terminal.py": "a point must be older than a second",
    "tests/scripts/test_demo.py": "interrupts in the midst of the work",
    "tests/tools/test_ssh.py": "silence for a while is not a loss",
    "tests/tools/test_agent.py": "what is to be ended must run for a while",
    "tests/sources/test_mysql_capture.py": "measures that nobody is held up",
    "tests/sources/test_mysql_live.py": "a server's event must have had its second",
    "tests/sources/test_postgres_capture.py": "a writer writes on in the midst of the dump",
    "tests/sources/test_files.py": "clocks of file systems are coarse",
}
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|ghp_[0-9A-Za-z]{30,}|xox[abp]-[0-9A-Za-z-]{10,}"
)
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-demo.lock")


def modules(root: Path) -> list[Path]:
    """Return all modules of the product."""
    return sorted((root / "dr").rglob("*.py"))


def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all that a module consists of, itself first."""
    return nodes_of(path.read_text("utf-8"))


def module(path: Path) -> ast.Module:
    """Return a module as its parts."""
    (first, *_) = nodes(path)
    assert isinstance(first, ast.Module)
    return first


def kept_files(root: Path) -> Iterator[Path]:
    """Yield what belongs to the project: all but what .gitignore names."""
    ignored = [line.strip().strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines() if line]
    for path in sorted(root.iterdir()):
        if path.name == ".git" or any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from kept_files(path)
        else:
            yield path


def imported(parts: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield the first part of each name that `parts` import, with its line."""
    for node in parts:
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno


def intruders(root: Path) -> list[str]:
    """Return where a module imports what another one owns."""
    found = []
    for path in modules(root):
        name = path.relative_to(root).as_posix()
        for library, line in imported(nodes(path)):
            owners = OWNERS.get(library, (name,))
            if not any(name.startswith(owner) if owner.endswith("/") else name == owner for owner in owners):
                found.append(f"{name}:{line} imports {library}")
    return found


def too_long(root: Path) -> list[str]:
    """Return the modules that are longer than any may be."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in modules(root)}
    return [f"{path.relative_to(root)}: {length} lines" for path, length in lengths.items() if length > LONGEST_MODULE]


def without_docstring(root: Path) -> list[str]:
    """Return the modules that do not say what they are."""
    found = [path for path in modules(root) if not ast.get_docstring(module(path))]
    return [str(path.relative_to(root)) for path in found]


def early_heavy(root: Path) -> list[str]:
    """Return where a heavy library is imported when the module is."""
    found = []
    for path in modules(root):
        name = path.relative_to(root).as_posix()
        heavy = HEAVY - ({"paramiko"} if name in OWNERS["paramiko"] else set()) - LATE.get(name, set())
        found += [f"{name}:{line} {library}" for library, line in imported(module(path).body) if library in heavy]
    return found


def hasty(root: Path) -> list[str]:
    """Return where a test sleeps, holds a time against a limit, or gives a program only a short while."""
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name in HASTY or name == "tests/waiting.py" or name.startswith("tests/bench/"):
            continue
        if _MAY_BE_HASTY.search(text := path.read_text("utf-8")):
            found += [f"{name}:{line}" for line in _hasty_lines(ast.parse(text))]
    return found


#: Words without which no line is hasty: most files of tests need not be parsed.
_MAY_BE_HASTY = re.compile("sleep|timeout|monotonic|perf_counter|Timer")
_PROCESS = {"communicate", "wait", "run", "check_output"}


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


def _hasty_lines(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            short = [ast.literal_eval(k.value) for k in node.keywords if k.arg == "timeout" and _is_constant(k.value)]
            waits = node.func.attr in ("communicate", "wait") or (node.func.attr in _PROCESS and owner == "subprocess")
            if (node.func.attr, owner) in (("sleep", "time"), ("Timer", "threading")) or (
                waits and any(x is None or x < 300 for x in short)
            ):
                yield node.lineno
        elif isinstance(node, ast.Compare):
            calls = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
            if any(isinstance(c, ast.Attribute) and c.attr in ("monotonic", "perf_counter") for c in calls):
                yield node.lineno


#: Who knows the kinds of target: what they declare, their drivers, and the stores that those open. Sources never see one.
KNOW_TARGETS = ("dr/plan/target", "dr/targets/", "dr/tools/", "dr/sources/")


def asks_for_kinds(root: Path) -> list[str]:
    """Return where something outside the drivers asks of which kind a target is, or what kind of store it opened."""
    found = []
    for path in modules(root):
        name = path.relative_to(root).as_posix()
        if name.startswith(KNOW_TARGETS):
            continue
        for node in nodes(path):
            if _tells_a_kind(node):
                found.append(f"{name}:{getattr(node, 'lineno', 0)}")
    return found


def _tells_a_kind(node: ast.AST) -> bool:
    """Whether it reads what one kind declares, compares with a kind's key, or takes a kind's store by its class."""
    if isinstance(node, ast.Attribute):
        return node.attr in TARGET_KINDS and not (isinstance(node.value, ast.Name) and node.value.id == "threading")
    if isinstance(node, ast.Compare):
        sides = (node.left, *node.comparators)
        return any(isinstance(side, ast.Constant) and side.value in TARGET_KINDS - {"sftp"} for side in sides)
    if isinstance(node, ast.ImportFrom):
        return any(each.name in STORES for each in node.names)
    return False


def error_names(root: Path) -> set[str]:
    """Return the names of DrError and of all that derive from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for path in modules(root)
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
    }
    names, size = {"DrError"}, 0
    while size != len(names):
        size = len(names)
        names |= {name for name, parents in bases.items() if parents & names}
    return names


def without_hint(root: Path) -> list[str]:
    """Return the errors that are raised without saying what to do, and have no reason for it."""
    names, found = error_names(root), []
    for path in modules(root):
        for node in nodes(path):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
                continue
            told = {keyword.arg for keyword in node.keywords} & {"hint", "faults", None} or len(node.args) > 3
            what = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if not told and what not in NO_HINT:
                found.append(f"{path.relative_to(root)}:{node.lineno} {node.func.id}")
    return found


def betrayals(root: Path) -> list[str]:
    """Return where a kept file names a secret, or a path of this machine."""
    private = [str(ROOT) + "/", str(Path.home()) + "/"]
    found = []
    for path in kept_files(root):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if SECRETS.search(text) or any(re.search(rf"(?<![\w.…-]){re.escape(place)}", text) for place in private):
            found.append(str(path.relative_to(root)))
    return found


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the product, to break a law in."""
    shutil.copytree(ROOT / "dr", tmp_path / "dr", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy of the house."""
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def test_the_import_contracts_are_kept(house: Path) -> None:
    done = lint_imports(house)
    assert done.returncode == 0, done.stdout


def test_each_broken_import_contract_and_a_room_that_none_names_are_found(house: Path) -> None:
    broken = {
        "evidence/record.py": "import dr.tools.state_dir",  # fact reaches a sibling
        "run/backup/backup.py": "import dr.catalog.store",  # run sees the catalog
        "errors.py": "import dr.cli.main",  # the ground sees the roof
        "plan/units.py": "import socket",  # intent is not pure
    }
    for room, line in broken.items():
        path = house / "dr" / room
        path.write_text(path.read_text("utf-8") + f"\n{line}\n")
    (house / "dr" / "utils").mkdir()
    (house / "dr" / "utils" / "__init__.py").write_text('"""A room nobody planned."""\n')
    done = lint_imports(house)
    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    for room, line in broken.items():
        where = f"dr.{room.removesuffix('.py').replace('/', '.')}"
        assert f"- {where} -> {line.removeprefix('import ')} " in told, (where, done.stdout)
    assert "not listed as layers: - dr.utils" in told


def test_each_outside_thing_has_one_owner() -> None:
    assert intruders(ROOT) == []


def test_an_intruder_is_found_even_inside_a_function(house: Path) -> None:
    path = house / "dr" / "run" / "recovery" / "drill.py"
    path.write_text(path.read_text("utf-8") + "\n\ndef shell():\n    import subprocess\n")
    assert [line.split(":")[0] for line in intruders(house)] == ["dr/run/recovery/drill.py"]


def test_ruff_bans_what_the_house_says_is_owned() -> None:
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(OWNERS)
    assert all(ban["msg"] for ban in banned.values())


def test_only_the_drivers_know_kinds_of_target() -> None:
    assert asks_for_kinds(ROOT) == []


def test_who_asks_for_a_kind_of_target_is_found(house: Path) -> None:
    path = house / "dr" / "run" / "replication" / "replicate.py"
    asked = ["found = target.s3", "from dr.tools.s3 import S3Store", "near = target.kind == 'local'"]
    text = path.read_text("utf-8")
    path.write_text("\n".join([text, *asked]))
    first = text.count("\n") + 2
    assert sorted(asks_for_kinds(house)) == [f"dr/run/replication/replicate.py:{first + n}" for n in range(len(asked))]


def test_heavy_libraries_are_imported_only_where_used() -> None:
    assert early_heavy(ROOT) == []


def test_what_a_backup_of_this_host_loads_is_light() -> None:
    """The modules of paramiko's home load it at their top; nothing may load them but a plan with another host."""
    code = "import sys, dr.operations.due_work, dr.cli.main; print(sorted({'paramiko', 'boto3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_brings_one_file_back_waits_for_no_http_library() -> None:
    """Each such import is a fiftieth of the time until the file has its first byte."""
    code = "import sys, dr.cli.recover, dr.operations.drill, dr.queries.files; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dr.operations.drill" in loaded
    assert not {"http.server", "http.client", "urllib.request", "ssl", "boto3", "pydantic"} & loaded


def test_a_look_that_finds_nothing_due_loads_no_verb() -> None:
    code = "import sys, dr.operations.run_due, dr.cli.run; print(*sorted(name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    verbs = {f"dr.operations.{verb}" for verb in ("backup", "verify", "replicate", "expire", "drill", "due_work")}
    assert "dr.operations.run_due" in loaded and not verbs & loaded
    assert sum(name.startswith("dr.") for name in loaded) <= 150, "292 once"


def test_a_heavy_library_at_the_top_of_a_module_is_found(house: Path) -> None:
    path = house / "dr" / "tools" / "s3.py"
    path.write_text(path.read_text("utf-8") + "\nimport boto3\n")
    assert len(early_heavy(house)) == 1


def test_every_module_says_what_it_is() -> None:
    assert without_docstring(ROOT) == []


def test_a_module_that_says_nothing_is_found(house: Path) -> None:
    (house / "dr" / "run" / "mute.py").write_text("x = 1\n")
    assert without_docstring(house) == ["dr/run/mute.py"]


def test_no_module_is_longer_than_a_reader_can_bear() -> None:
    assert too_long(ROOT) == []


def test_a_module_of_one_line_too_many_is_found(house: Path) -> None:
    (house / "dr" / "run" / "long.py").write_text('"""Long."""\n' + "x = 1\n" * LONGEST_MODULE)
    assert "dr/run/long.py: 451 lines" in too_long(house)


def test_every_error_says_what_to_do() -> None:
    assert without_hint(ROOT) == []


def test_an_error_that_says_nothing_is_found(house: Path) -> None:
    (house / "dr" / "run" / "rude.py").write_text('"""Rude."""\nraise TimeoutExpiredError("no", where="here")\n')
    assert without_hint(house) == ["dr/run/rude.py:2 TimeoutExpiredError"]


def test_nothing_kept_betrays_a_secret_or_this_machine() -> None:
    assert betrayals(ROOT) == []


@pytest.mark.parametrize(
    "text", ["key = AKIA" + "ABCDEFGHIJKLMNOP", f"see {ROOT}/dr", "-----BEGIN " + "RSA PRIVATE KEY-----"]
)
def test_a_planted_secret_or_path_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.md").write_text(text)
    assert betrayals(tmp_path) == ["note.md"]


def test_the_tree_holds_the_rooms_that_the_contracts_name() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {room.strip() for layer in layers for room in layer.split("|")}
    on_disk = {path.stem for path in (ROOT / "dr").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert on_disk - {"__init__", "__main__"} == rooms


def test_every_package_is_shipped() -> None:
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "dr").rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_tests_wait_for_events_and_hold_on_a_busy_machine() -> None:
    assert hasty(ROOT) == [], "wait with tests.waiting"


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.sleep(1)",
        "import threading\nthreading.Timer(0.9, stop).start()",
        "import subprocess\nsubprocess.run(['x'], timeout=60)",
        "running.communicate(timeout=30)",
        "import time\nassert time.monotonic() - began < 4",
        "import time\nwhile time.monotonic() < end: pass",
    ],
)
def test_a_hasty_test_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_new.py").write_text(text)
    assert len(hasty(tmp_path)) == 1
    assert [name for name in HASTY if not (ROOT / name).exists()] == []


def test_the_top_of_the_tree_has_nothing_unexpected() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in kept_files(ROOT)}
    assert top <= {
        ".ci", ".editorconfig", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "changelog.d", "docs", "dr", "findings",
        "plans", "pyproject.toml", "scripts", "targets", "tests", *LOCKS,
    }  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_host(lock: str) -> None:
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert pins
    assert all(re.match(r"^[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[\w.!+]+", pin) for pin in pins)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)
    assert not [line for line in lines if "://" in line or line.startswith("-")]


def test_scripts_name_no_host_but_this_one() -> None:
    kept = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run", *(ROOT / "scripts").iterdir()]
    urls = [
        url for path in kept if path.is_file() for url in re.findall(r"\bhttps?://[^\s\"'}]+", path.read_text("utf-8"))
    ]
    assert [url for url in urls if not url.startswith(("http://127.0.0.1", "http://{"))] == []


def test_every_dependency_that_is_declared_is_locked() -> None:
    declared = {re.split(r"[<>=\[]", each)[0].lower() for each in PROJECT["project"]["dependencies"]}
    locked = {line.split("==")[0].lower() for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()}
    assert declared <= locked


def test_every_run_is_opened_and_put_on_record_in_one_place() -> None:
    for what in ("catalog.record(", "session.begin("):
        places = [path.name for path in (ROOT / "dr").rglob("*.py") if what in path.read_text("utf-8")]
        assert places == ["lifecycle.py"], what


def documents_in(parts: Iterable[ast.AST]) -> Iterator[int]:
    """Yield the lines where a function puts a document or a row together: a dict of several keys that have names."""
    for function in (node for node in parts if isinstance(node, ast.FunctionDef)):
        for node in (each for line in function.body for each in ast.walk(line)):
            if isinstance(node, ast.Dict):
                named = [key for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
                if len(named) > 1 or (named and None in node.keys and not _is_a_setting(named)):
                    yield node.lineno


def _is_a_setting(keys: list[ast.Constant]) -> bool:
    return all(str(key.value) in ("no_args_is_help", "help_option_names") for key in keys)


def test_documents_are_put_together_where_results_are_told_and_not_on_the_command_line() -> None:
    found = {
        f"{path.name}:{line}"
        for path in (ROOT / "dr" / "cli").glob("*.py")
        if path.name != "log_format.py"  # lines of a log, which are no document of a command
        for line in documents_in(nodes(path))
    }
    assert found == set()


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2}', '{**told, "a": 1}', '[{"a": x, "b": x} for x in told]'])
def test_a_document_that_is_put_together_elsewhere_is_found(text: str) -> None:
    assert list(documents_in(nodes_of(f"def f(told):\n    return {text}\n"))) == [2]
    assert list(documents_in(nodes_of('def f():\n    return {"a": 1}\n'))) == []


def test_what_is_decided_once_stands_in_one_place() -> None:
    for what, where in (('"degraded": DEGRADED', "errors.py"), ("KeyEvent(\n", "rotate_keys.py")):
        places = [path.name for path in modules(ROOT) if what in path.read_text("utf-8")]
        assert places == [where], what


def test_no_class_name_stands_twice_within_what_is_done() -> None:
    assert SIZES["class_names_twice"]() == {}


def test_no_file_lies_loose_among_the_rooms() -> None:
    assert [path.name for path in (ROOT / "dr" / "run").glob("*.py")] == ["__init__.py"]


def test_the_board_loads_no_operation_and_few_modules() -> None:
    loaded = SIZES["loaded_by_the_board"]()
    assert "dr.queries.status" in loaded and len(loaded) <= 100
    assert not {
        name for name in loaded if name.startswith(("dr.operations", "dr.sources.mysql", "dr.sources.postgres"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["status", "run"])
def test_a_look_at_plans_that_did_not_change_loads_no_models_and_no_yaml(verb: str, tmp_path: Path) -> None:
    """The first look makes the catalog, the second keeps what the plans say; a change is read with all it takes."""
    SIZES["declare"](tmp_path, cadence="cadence: {backup: never, verify: never, drill: never}\n")
    (target,) = (tmp_path / "targets").iterdir()
    target.write_text(f"{target.read_text()}capacity: 1TB\n")  # which the board compares with what is stored
    heavy = {"pydantic", "yaml"}
    looks = [heavy & SIZES["loaded_by"](tmp_path, verb) for _ in range(3)]
    assert looks == [heavy, heavy, set()]
    (tmp_path / "plans/sis.yaml").write_text((tmp_path / "plans/sis.yaml").read_text().replace("rto: 1h", "rto: 2h"))
    assert heavy & SIZES["loaded_by"](tmp_path, verb) == heavy


#: What an administrator stumbles over, and what is written instead.
REFUSED = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\banew\b": "again",
    r"\bin vain\b": "say what was not found",
    r"\blengthen": "extend",
    r"\blets us in\b": "accepts the login",
    r"\b(it|there) lacks\b": "Missing:",
    r"(?<!there )\bis no (time|name|plan|target|cadence|duration|share of|comparison|address|bucket)\b": "is not a",
}


def refused(root: Path) -> list[str]:
    """Return what a person would read and stumble over: `file:line: phrase`, of all texts but docstrings."""
    found = []
    for path in sorted((root / "dr").rglob("*.py")):
        said = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                hits = [pattern for pattern in REFUSED if re.search(pattern, node.value)]
                found += [f"{path.relative_to(root)}:{node.lineno}: {hit}" for hit in hits]
    return found


def test_nobody_reads_a_phrase_to_stumble_over() -> None:
    assert refused(ROOT) == []


def test_a_phrase_to_stumble_over_is_found(house: Path) -> None:
    (house / "dr" / "run" / "said.py").write_text('"""Said."""\n\nWHAT = "mend it"\n')
    assert refused(house) == ["dr/run/said.py:3: \\bmend(s|ed|ing)?\\b"]


def test_one_drill_has_few_forms() -> None:
    assert len(SIZES["forms_of_a_drill"]()) <= 6


def test_no_module_imports_more_than_fifteen_others() -> None:
    """One above holds two things: cut it where they part."""
    assert [each for each in SIZES["fan_out"]() if each[0] > 15] == []


@pytest.mark.slow
def test_an_everyday_drill_runs_through_no_more_files_than_it_did() -> None:
    files = SIZES["files_of_a_drill"]()
    assert "dr/run/recovery/engine.py" in files and "dr/plan/lint.py" in files
    assert not [name for name in files if "ransomware" in name or "/mysql/" in name or "kit/kit" in name]
    assert len(files) <= FILES_OF_A_DRILL, files


def test_the_command_line_is_typed() -> None:
    assert SIZES["untyped_per_thousand"]() <= 5

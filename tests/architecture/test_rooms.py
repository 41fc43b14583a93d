"""The rules of the house, read from the source itself: who may import whom, and what each room may not touch.

Pure rooms say what should happen, services make it happen in order, storage, world and simulation do
it. Every check is a function from a source tree to a list of complaints, so that the tests at the end
can show it a small house that breaks the rule: a check that cannot fail checks nothing.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "postroad"
TESTS = ROOT / "tests"
INDEX = ROOT / "docs" / "rfc-index.md"

# --------------------------------------------------------------------------- who may import whom

PURE = frozenset({"vocabulary", "wire", "message", "rules"})
ROOMS = PURE | {"contracts", "services", "storage", "world", "simulation", "hooks", "web", "cli", "app"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    "vocabulary": frozenset(),
    "wire": frozenset({"vocabulary"}),
    "message": frozenset({"vocabulary"}),
    "rules": frozenset({"vocabulary", "message"}),
    "contracts": frozenset({"vocabulary"}),
    "services": frozenset({"vocabulary", "wire", "message", "rules", "contracts"}),
    "storage": frozenset({"vocabulary", "contracts"}),
    "world": frozenset({"vocabulary", "contracts"}),
    "hooks": frozenset({"vocabulary", "contracts"}),
    "web": frozenset({"vocabulary", "services.operations"}),
    "cli": frozenset({"vocabulary", "services.operations"}),
    "simulation": ROOMS - {"web", "cli", "world", "app"},
    "app": ROOMS - {"cli", "simulation"},
}
# A `__main__.py` is where a process begins: there a room is joined to the wiring, or to the simulator.
ENTRY_MAY_ALSO_IMPORT = frozenset({"app", "simulation"})

# --------------------------------------------------------------------------- what a room may not touch

REAL_TIME = {
    "time.time": "Clock.now()",
    "time.time_ns": "Clock.now()",
    "time.monotonic": "the loop's time()",
    "time.sleep": "asyncio's own waiting",
    "datetime.datetime.now": "Clock.now()",
    "datetime.datetime.utcnow": "Clock.now()",
    "datetime.datetime.today": "Clock.now()",
    "datetime.date.today": "Clock.now()",
}
IN_PURE_ROOMS = {
    **REAL_TIME,
    "time": "an argument `now`",
    "random": "an argument, drawn by the caller",
    "secrets": "an argument, drawn by the caller",
    "os": "a value in the settings",
    "asyncio": "a service",
    "socket": "a service",
    "ssl": "a service",
    "threading": "a service",
    "subprocess": "a service",
}
IN_SERVICES = {
    **REAL_TIME,
    "random": "Entropy",
    "secrets": "Entropy",
    "os.environ": "the settings",
    "os.getenv": "the settings",
    "socket": "Network",
    "ssl": "Network",
    "sqlite3": "a store of contracts/",
}
IN_SIMULATION = {
    **REAL_TIME,
    "socket.socket": "the virtual network",
    "socket.create_connection": "the virtual network",
    "socket.create_server": "the virtual network",
    "asyncio.open_connection": "the virtual network",
    "asyncio.start_server": "the virtual network",
}
EVERYWHERE = {
    "sqlite3": "apsw, in storage/: two SQLite libraries in a process drop each other's locks",
    "asyncio.gather": "asyncio.TaskGroup: gather leaves the others running when one fails",
    "asyncio.create_task": "asyncio.TaskGroup.create_task: nobody waits for a bare task",
    "asyncio.ensure_future": "asyncio.TaskGroup.create_task",
    "asyncio.get_event_loop": "asyncio.get_running_loop()",
}
MAY_MAKE_BARE_TASKS: frozenset[str] = frozenset()

MAY_PAUSE = ("live", "peers", "faults", "support")
VIRTUAL_TIME = ("simulation",)

# --------------------------------------------------------------------------- other words

RFC = re.compile(r"\bRFC[ -]?(\d{3,5})\b")
INDEX_ROW = re.compile(r"^\| *(\d{3,5}) *\|", re.MULTILINE)
# Put together here so that this file does not hold them.
FORBIDDEN_WORDS = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("../sh", "ared"),
        ("py", "pi.org"),
        ("python", "hosted.org"),
        ("npm", "js.org"),
        ("deb.deb", "ian.org"),
    )
)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def room_of(path: Path, package: Path) -> str:
    """The room a file is in, "" for the few files that stand at the door."""
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) > 1 else ""


def module_of(path: Path, package: Path) -> str:
    parts = list(path.relative_to(package.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """Every dotted name a file imports, with its line: `from a.b import c` gives a.b.c."""
    here = module_of(path, package).split(".")
    if path.name != "__init__.py":
        here.pop()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def names_used(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """Every imported name, and every dotted use of one: `dt.datetime.now` after `import datetime as dt`."""
    yield from imports(path, package)
    origin: dict[str, str] = {}
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                origin[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                origin[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in origin:
                yield f"{origin[root]}.{rest}", node.lineno


def within(name: str, prefixes: Iterable[str]) -> str | None:
    """The first of the prefixes that holds a dotted name."""
    return next((prefix for prefix in prefixes if f"{name}.".startswith(f"{prefix}.")), None)


# --------------------------------------------------------------------------- the checks


def wrong_imports(package: Path) -> list[str]:
    complaints = []
    for path in sources(package):
        room = room_of(path, package)
        entry = path.name == "__main__.py"
        if room and room not in ROOMS:
            complaints.append(f"{path.relative_to(package)}: no such room: {room}")
            continue
        if not room:
            allowed = frozenset({"cli"}) if entry else frozenset()
        else:
            allowed = MAY_IMPORT[room] | {room} | (ENTRY_MAY_ALSO_IMPORT if entry else frozenset())
        for name, line in imports(path, package):
            target = name.removeprefix(f"{package.name}.")
            ours = target != name and target.partition(".")[0] in ROOMS
            if ours and within(target, allowed) is None:
                complaints.append(f"{path.relative_to(package)}:{line}: {room or 'the door'} imports {target}")
    return complaints


def banned_in(room: str) -> dict[str, str]:
    banned = dict(EVERYWHERE)
    if room != "storage":
        banned["apsw"] = "a store of contracts/; SQL lives in storage/"
    if room in PURE:
        banned |= IN_PURE_ROOMS
    elif room == "services":
        banned |= IN_SERVICES
    elif room == "simulation":
        banned |= IN_SIMULATION
    return banned


def banned_names(package: Path) -> list[str]:
    complaints = set()
    for path in sources(package):
        room = room_of(path, package)
        banned = banned_in(room)
        for name, line in names_used(path, package):
            hit = within(name, banned)
            if hit and not (hit == "asyncio.create_task" and str(path.relative_to(package)) in MAY_MAKE_BARE_TASKS):
                complaints.add(f"{path.relative_to(package)}:{line}: {hit} in {room}; use {banned[hit]}")
    return sorted(complaints)


def bare_tasks(package: Path) -> list[str]:
    """Tasks made on a loop instead of in a TaskGroup; asyncio.create_task itself is a banned name."""
    complaints = []
    for path in sources(package):
        if str(path.relative_to(package)) in MAY_MAKE_BARE_TASKS:
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
                owner = ast.unparse(node.func.value)
                if re.search(r"loop(\(\))?$", owner):
                    complaints.append(
                        f"{path.relative_to(package)}:{node.lineno}: {owner}.create_task outside a TaskGroup"
                    )
    return complaints


def import_cycles(package: Path) -> list[str]:
    """Groups of modules that import each other, also for types alone or inside a function."""
    modules = {module_of(path, package): path for path in sources(package)}

    def named(name: str) -> str | None:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name or None

    graph = {
        module: sorted({to for name, _ in imports(path, package) if (to := named(name)) and to != module})
        for module, path in modules.items()
    }
    done: set[str] = set()
    trail: list[str] = []
    cycles = []

    def visit(module: str) -> None:
        if module in trail:
            cycles.append(" -> ".join([*trail[trail.index(module) :], module]))
        elif module not in done:
            trail.append(module)
            for target in graph[module]:
                visit(target)
            trail.pop()
            done.add(module)

    for module in graph:
        visit(module)
    return cycles


def sleeping_tests(tests: Path) -> list[str]:
    """Calls of sleep() in tests. Waiting is for virtual time; where a real peer is waited for, `pause` does it."""
    complaints = []
    for path in sources(tests):
        room = room_of(path, tests)
        pauses: set[ast.AST] = set()
        if room in MAY_PAUSE:
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "pause":
                    pauses.update(ast.walk(node))
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Call) or node in pauses:
                continue
            called = ast.unparse(node.func)
            yields = [ast.unparse(argument) for argument in node.args] == ["0"]
            virtual = room in VIRTUAL_TIME and called == "asyncio.sleep"
            if called.rpartition(".")[2] == "sleep" and not yields and not virtual:
                complaints.append(f"{path.relative_to(tests)}:{node.lineno}: {called}()")
    return complaints


def unlisted_rfcs(package: Path, index: Path) -> list[str]:
    listed = set(INDEX_ROW.findall(index.read_text(encoding="utf-8")))
    return [
        f"{path.relative_to(package)}: RFC {number} is not in {index.name}"
        for path in sorted(package.rglob("*"))
        if path.suffix in {".py", ".sql", ".toml", ".html", ".txt"}
        for number in sorted(set(RFC.findall(path.read_text(encoding="utf-8"))) - listed, key=int)
    ]


def forbidden_words(root: Path) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True)
    complaints = []
    for name in listing.stdout.decode().split("\0"):
        path = root / name
        if name and path.is_file():
            content = path.read_bytes()
            complaints += [f"{name}: {word}" for word in FORBIDDEN_WORDS if word.encode() in content]
    return complaints


def leaky_locks(root: Path) -> list[str]:
    """Locks that name where packages come from, or leave one out that the package needs."""
    complaints = []
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'^  "([a-z0-9-]+)[>=]=', project, re.MULTILINE)
    for lock in sorted(root.glob("requirements*.lock")):
        text = lock.read_text(encoding="utf-8")
        complaints += [f"{lock.name}: {word}" for word in ("http", "--index-url", "-i ") if word in text]
        complaints += [
            f"{lock.name}: {name} has no hash" for name in re.findall(r"^(\S+==\S+)(?! .*\\$)[^\\]*$", text, re.M)
        ]
    dev = (root / "requirements-dev.lock").read_text(encoding="utf-8")
    complaints += [f"requirements-dev.lock: no {name}" for name in needed if f"\n{name}==" not in f"\n{dev}"]
    return complaints


# --------------------------------------------------------------------------- the house as it is


def test_a_room_imports_only_what_it_may() -> None:
    assert wrong_imports(PACKAGE) == []


def test_a_room_touches_nothing_that_is_banned_there() -> None:
    assert banned_names(PACKAGE) == []


def test_every_task_has_a_group_that_waits_for_it() -> None:
    assert bare_tasks(PACKAGE) == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert import_cycles(PACKAGE) == []


def test_no_test_sleeps() -> None:
    assert sleeping_tests(TESTS) == []


def test_every_rfc_named_in_the_source_is_in_the_index() -> None:
    assert unlisted_rfcs(PACKAGE, INDEX) == []


def test_nothing_under_version_control_names_a_place_outside() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert forbidden_words(ROOT) == []


def test_the_locks_name_no_index_and_hold_what_is_needed() -> None:
    assert leaky_locks(ROOT) == []


# --------------------------------------------------------------------------- the checks can fail


def build(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wire/x.py", "from postroad.rules import retry"),
        ("wire/x.py", "from postroad import message"),
        ("wire/x.py", "from ..message import headers"),
        ("rules/x.py", "import postroad.wire.smtp.reader"),
        ("contracts/x.py", "from postroad.storage.sqlite import queue_store"),
        ("services/x.py", "def f():\n    from postroad.storage import sqlite"),
        ("storage/sqlite/x.py", "from postroad.world import clock"),
        ("web/x.py", "from postroad.services import reception"),
        ("web/x.py", "from postroad.services.delivery import run"),
        ("cli/queue.py", "from postroad.app import assembly"),
        ("cli/__main__.py", "from postroad.storage import sqlite"),
        ("simulation/x.py", "from postroad.app import assembly"),
        ("app/x.py", "from postroad.simulation import network"),
        ("app/x.py", "from postroad.cli import queue"),
        ("cellar/x.py", ""),
        ("__init__.py", "from postroad.app import assembly"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, name: str, text: str) -> None:
    assert len(wrong_imports(build(tmp_path / "postroad", {name: text}))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wire/x.py", "from postroad.vocabulary.reply import Reply\nfrom postroad.wire import lines"),
        ("web/x.py", "from postroad.services.operations import queue"),
        ("cli/__main__.py", "from postroad.app import assembly\nfrom postroad.services import operations"),
        ("web/__main__.py", "from postroad.app import assembly"),
        ("app/x.py", "from postroad.storage.sqlite import queue_store\nfrom postroad import __version__"),
        ("__main__.py", "from postroad.cli.__main__ import main"),
    ],
)
def test_a_right_import_is_let_through(tmp_path: Path, name: str, text: str) -> None:
    assert wrong_imports(build(tmp_path / "postroad", {name: text})) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocabulary/x.py", "import time"),
        ("wire/x.py", "from os import path"),
        ("message/x.py", "import random as dice"),
        ("rules/x.py", "import asyncio.events"),
        ("rules/x.py", "from datetime import datetime as D\nD.now()"),
        ("rules/x.py", "import datetime as dt\nnow = dt.datetime.utcnow"),
        ("rules/x.py", "from datetime import date\ndate.today()"),
        ("services/x.py", "import socket"),
        ("services/x.py", "from ssl import SSLContext"),
        ("services/x.py", "import os\nos.environ['HOME']"),
        ("services/x.py", "import os\nos.environ.get('HOME')"),
        ("services/x.py", "from time import time"),
        ("services/x.py", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
        ("services/x.py", "import apsw"),
        ("web/x.py", "from apsw import Connection"),
        ("storage/x.py", "import sqlite3"),
        ("world/x.py", "import asyncio\nasyncio.gather()"),
        ("app/x.py", "import asyncio as aio\naio.create_task(f())"),
        ("app/x.py", "from asyncio import create_task"),
        ("simulation/x.py", "import time\ntime.monotonic()"),
    ],
)
def test_a_banned_name_is_found(tmp_path: Path, name: str, text: str) -> None:
    assert banned_names(build(tmp_path / "postroad", {name: text})) != []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules/x.py", "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)"),
        ("services/x.py", "import asyncio\nasync def f(group: asyncio.TaskGroup):\n    group.create_task(g())"),
        ("services/x.py", "import os\nos.fspath(p)"),
        ("storage/x.py", "import apsw, os, time\ntime.monotonic()"),
        ("world/clock.py", "import time\ntime.time()"),
        ("wire/x.py", "class X:\n    time = 1\nX.time"),
    ],
)
def test_a_name_that_is_right_there_is_let_through(tmp_path: Path, name: str, text: str) -> None:
    package = build(tmp_path / "postroad", {name: text})
    assert banned_names(package) == []
    assert bare_tasks(package) == []


@pytest.mark.parametrize("owner", ["loop", "self._loop", "asyncio.get_running_loop()"])
def test_a_bare_task_is_found(tmp_path: Path, owner: str) -> None:
    package = build(tmp_path / "postroad", {"services/x.py": f"{owner}.create_task(f())"})
    assert len(bare_tasks(package)) == 1


def test_a_circle_of_imports_is_found(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "wire/__init__.py": "",
        "wire/a.py": "from postroad.wire.b import x",
        "wire/b.py": "def f():\n    from postroad.wire import c",
        "wire/c.py": "import postroad.wire.a",
        "wire/d.py": "from postroad.wire import a",
    }
    assert import_cycles(build(tmp_path / "postroad", files)) == [
        "postroad.wire.a -> postroad.wire.b -> postroad.wire.c -> postroad.wire.a"
    ]


CAN_SLEEP: Callable[[str], str] = "import asyncio, time\nasync def {}():\n    await asyncio.sleep(1)\n".format


@pytest.mark.parametrize(
    ("name", "text", "complaints"),
    [
        ("wire/test_x.py", CAN_SLEEP("test_x"), 1),
        ("wire/test_x.py", CAN_SLEEP("pause"), 1),
        ("peers/test_x.py", CAN_SLEEP("test_x"), 1),
        ("peers/helpers.py", CAN_SLEEP("pause"), 0),
        ("simulation/test_x.py", CAN_SLEEP("test_x"), 0),
        ("simulation/test_x.py", "import time\ntime.sleep(1)", 1),
        ("services/test_x.py", "from time import sleep\nsleep(1)", 1),
        ("services/test_x.py", "import asyncio\nasyncio.sleep(0)", 0),
    ],
)
def test_a_sleeping_test_is_found(tmp_path: Path, name: str, text: str, complaints: int) -> None:
    assert len(sleeping_tests(build(tmp_path, {name: text}))) == complaints


def test_an_unlisted_rfc_is_found(tmp_path: Path) -> None:
    package = build(
        tmp_path / "postroad", {"wire/x.py": "# RFC 5321 4.1.2, RFC 821 and RFC-9999", "s/x.sql": "-- RFC 99"}
    )
    index = (
        build(tmp_path, {"rfc-index.md": "| RFC | title |\n|---|---|\n| 5321 | SMTP, after RFC 821 |\n"})
        / "rfc-index.md"
    )
    assert unlisted_rfcs(package, index) == [
        "wire/x.py: RFC 821 is not in rfc-index.md",
        "wire/x.py: RFC 9999 is not in rfc-index.md",
    ]


@pytest.mark.parametrize("word", FORBIDDEN_WORDS)
def test_a_forbidden_word_is_found(tmp_path: Path, word: str) -> None:
    build(tmp_path, {"docs/a.md": f"see {word}x", "untracked.md": word})
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "docs/a.md"], cwd=tmp_path, check=True)
    assert forbidden_words(tmp_path) == [f"docs/a.md: {word}"]


@pytest.mark.parametrize(
    "lock",
    [
        "--index-url somewhere\nidna==3 \\\n    --hash=sha256:00\n",
        "# from http\nidna==3 \\\n    --hash=sha256:00\n",
        "idna==3\n",
        "click==3 \\\n    --hash=sha256:00\n",
    ],
)
def test_a_leaky_lock_is_found(tmp_path: Path, lock: str) -> None:
    build(tmp_path, {"pyproject.toml": 'dependencies = [\n  "idna>=3,<4",\n]\n', "requirements-dev.lock": lock})
    assert leaky_locks(tmp_path) != []


def test_a_right_lock_is_let_through(tmp_path: Path) -> None:
    lock = "idna==3 ; sys_platform == 'linux' \\\n    --hash=sha256:00\n    # via -r x\n"
    build(tmp_path, {"pyproject.toml": 'dependencies = [\n  "idna>=3,<4",\n]\n', "requirements-dev.lock": lock})
    assert leaky_locks(tmp_path) == []

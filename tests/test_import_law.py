"""The import law of the house: which room may import which, and that only `plugin` brings in Locust and gevent."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "locust_adaptive"

# A room is a folder of the package, or a module beside them; "" is the package's own __init__, open to all.
# Each room: the other rooms and the third-party packages it may import, anywhere in its files; None: any package.
LAW: dict[str, tuple[set[str], set[str] | None]] = {
    "": (set(), set()),
    "search": (set(), {"numpy"}),
    "replay": (set(), {"numpy", "httptools"}),
    "telemetry": (set(), {"prometheus_client", "pynvml"}),
    "report": ({"search"}, {"numpy"}),
    "simulation": ({"search"}, {"numpy"}),
    "demo": (set(), {"numpy"}),
    "plugin": ({"search", "replay", "report", "telemetry"}, None),
    "shapes": ({"plugin"}, set()),
    "cli": (set(), {"click"}),
}
# Also what a function, or TYPE_CHECKING, may import: a sub-command pays for its own rooms only.
LATE = {"cli": set(LAW)}
LAZY_NAMES = {"AdaptiveShape", "OpenLoop", "ReplayUser"}  # of the package; each stands for the plugin room
FORBIDDEN = ("gevent", "locust", "greenlet")


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def imports(tree: ast.AST, package: str, late: bool = False) -> Iterator[tuple[str, int, bool]]:
    """The absolute name, line and lateness of each import; `from a import b` gives a.b, `import_module("a.b")` too.

    Late is what runs only when a function is called, or never (under TYPE_CHECKING).
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for part in node.body:
                yield from imports(ast.Module([part], []), package, True)
            for part in node.orelse:
                yield from imports(ast.Module([part], []), package, late)
        else:
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
                names = [part.value for part in node.args[:1] if isinstance(part, ast.Constant)]
                yield from ((name, node.lineno, late) for name in names if isinstance(name, str))
            deferred = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, package, deferred)


def breaches(source: str, module: str, is_package: bool = False) -> list[str]:
    """What in a module's source is against the law, one sentence each."""
    room = room_of(module)
    if room not in LAW:
        return [f"{module}: the room {room!r} is not in the law: say there what it may import"]
    rooms, packages = LAW[room]
    found = []
    for name, line, late in imports(ast.parse(source), module if is_package else module.rpartition(".")[0]):
        top = name.split(".")[0]
        if top == PACKAGE.name:
            target = "plugin" if name.split(".")[-1] in LAZY_NAMES and name.count(".") == 1 else room_of(name)
            allowed = {room} | rooms | (LATE.get(room, set()) if late else set())
            # What is no room and no module is a plain name of the package itself, such as __version__.
            if target in LAW and target not in ("", *allowed):
                found.append(f"{module}:{line}: {room or 'the package'} may not import {target} ({name})")
        elif packages is not None and top not in packages and top not in sys.stdlib_module_names:
            found.append(f"{module}:{line}: {room or 'the package'} may not import {top}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_the_law_holds(module: str) -> None:
    path = MODULES[module]
    assert breaches(path.read_text(), module, path.name == "__init__.py") == []


def test_modules_are_found() -> None:
    assert {"locust_adaptive", "locust_adaptive.search", "locust_adaptive.search.slo"} <= MODULES.keys()


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("search.x", "import math, numpy as np\nfrom .slo import Slo\nfrom . import grid", 0),
        ("search.x", "from .. import __version__", 0),
        ("search.x", "from ..replay import trace", 1),
        ("search.x", "from .. import replay, report", 2),
        ("search.x", "import locust_adaptive.plugin.shape", 1),
        ("search.x", "from locust_adaptive import OpenLoop", 1),
        ("search.x", "def f():\n    if f:\n        import click\n        from gevent import pool", 2),
        ("search.x", "class C:\n    def f(self):\n        from locust_adaptive.report import journal", 1),
        ("search.x", "import importlib\nimportlib.import_module('locust_adaptive.report')", 1),
        ("search.deep.x", "from ...replay import trace\nfrom ..slo import Slo", 1),
        ("replay.x", "import httptools, numpy\ntry:\n    import locust\nexcept ImportError:\n    import scipy", 2),
        ("telemetry.x", "import prometheus_client, pynvml\nfrom locust_adaptive.search import slo", 1),
        ("report.x", "from locust_adaptive.search.slo import Slo\nfrom ..replay import trace", 1),
        ("simulation.x", "from ..search import slo\nfrom ..demo import server", 1),
        ("demo.x", "import numpy, asyncio\nfrom ..search import slo\nimport httptools", 2),
        ("plugin.x", "import locust, gevent, flask\nfrom ..search import slo\nfrom ..telemetry import scrape", 0),
        ("plugin.x", "def f():\n    from ..demo import server\n    from ..simulation import model", 2),
        ("shapes", "from locust_adaptive.plugin.shape import AdaptiveShape", 0),
        ("shapes", "from locust_adaptive import AdaptiveShape\nimport locust\nfrom .search import slo", 2),
        (
            "cli",
            "import click\nfrom . import __version__\ndef f():\n    from .plugin import x\n    from .demo import y",
            0,
        ),
        ("cli", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .search.slo import Slo", 0),
        ("cli", "from .search.slo import Slo\ndef f():\n    import gevent", 2),
        ("attic.x", "", 1),
    ],
)
def test_breaches_are_seen(module: str, source: str, count: int) -> None:
    assert len(breaches(source, f"locust_adaptive.{module}")) == count


def test_the_package_itself_imports_no_room() -> None:
    assert len(breaches("from .plugin.shape import AdaptiveShape", "locust_adaptive", is_package=True)) == 1


def test_nothing_but_the_plugin_loads_locust_or_gevent() -> None:
    """Imports every other module in a fresh interpreter and asks, after each, whether the two are there."""
    free = [name for name in MODULES if room_of(name) not in ("plugin", "shapes") and not name.endswith("__main__")]
    script = (
        "import importlib, json, sys\n"
        "names, forbidden = json.loads(sys.argv[1])\n"
        "seen = []\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "    seen.append([name, [top for top in forbidden if top in sys.modules]])\n"
        "print(json.dumps(seen))\n"
    )
    argument = json.dumps([free, FORBIDDEN])
    done = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[name, []] for name in free]

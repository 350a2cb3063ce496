"""The import arrows: ingest -> ingest_schema <- ingest_client, no cycles, and a client that loads next to nothing.

The sources are parsed, not imported, so an import inside a function or an `if` counts as well.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "ingest": ROOT / "ingest",
    "ingest_client": ROOT / "client" / "ingest_client",
    "ingest_schema": ROOT / "schema" / "ingest_schema",
}
MAY_IMPORT = {
    "ingest": {"ingest", "ingest_schema"},
    "ingest_client": {"ingest_client", "ingest_schema"},
    "ingest_schema": {"ingest_schema"},
}
FACE = {"ingest", "ingest.integrations", "ingest.pytorch"}
"""`ingest/__init__.py` and the client's public modules under its name: the one place where the service's package meets the client's."""

HEAVY = {
    "aiohttp",
    "asyncpg",
    "numpy",
    "orjson",
    "pydantic",
    "rich",
    "torch",
    "torchvision",
    "typer",
    "uvloop",
}
LOADED_WITH_TORCH = {"ingest_client._model_state"}
"""Modules that are only imported where torch is already: a model is a file of this module's, and stands alone."""

PLUGIN = "ingest_client.mlflow_plugin."
"""Loaded by mlflow itself, through entry points."""
CLIENT_MODULES_MAX = 110
"""Modules that `import ingest` may load beyond a bare interpreter; 50 ms buy about this many (bench says the time)."""


@dataclass(frozen=True)
class Import:
    """One import statement: who, what, and whether it runs when the importing module is loaded."""

    importer: str
    target: str
    at_load: bool


def module_name(package: str, path: Path) -> str:
    parts = path.relative_to(SOURCES[package]).with_suffix("").parts
    return ".".join((package, *parts)).removesuffix(".__init__")


MODULES = {module_name(package, path): path for package, top in SOURCES.items() for path in top.rglob("*.py")}


class _Collector(ast.NodeVisitor):
    """Imports of one module. TYPE_CHECKING blocks and function bodies do not run when it is loaded."""

    def __init__(self, importer: str, *, is_package: bool) -> None:
        self.importer = importer
        self.package = importer if is_package else importer.rpartition(".")[0]
        self.deferred = 0
        self.found: list[Import] = []

    def add(self, target: str) -> None:
        self.found.append(Import(self.importer, target, at_load=not self.deferred))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        for (
            alias
        ) in node.names:  # `from package import module` means the module; anything else means the base
            submodule = f"{base}.{alias.name}"
            self.add(submodule if submodule in MODULES else base)

    def visit_deferred(self, node: ast.AST) -> None:
        self.deferred += 1
        self.generic_visit(node)
        self.deferred -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_deferred  # noqa: N815 names are ast's

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            self.visit_deferred(ast.Module(body=node.body, type_ignores=[]))
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)


def imports_of(module: str) -> list[Import]:
    path = MODULES[module]
    collector = _Collector(module, is_package=path.name == "__init__.py")
    collector.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return collector.found


IMPORTS = [found for module in MODULES for found in imports_of(module)]


def test_the_packages_import_each_other_only_along_the_arrows() -> None:
    ours = set(SOURCES)
    wrong = [
        f"{found.importer} imports {found.target}"
        for found in IMPORTS
        if (target := found.target.partition(".")[0]) in ours
        and target not in MAY_IMPORT[found.importer.partition(".")[0]]
        and not (found.importer in FACE and target == "ingest_client")
    ]
    assert wrong == []


def test_nothing_that_is_shipped_imports_benches_or_tests() -> None:
    wrong = [found for found in IMPORTS if found.target.partition(".")[0] in {"bench", "tests", "conftest"}]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle_when_loaded() -> None:
    """A cycle works until somebody imports the other end first."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in IMPORTS:
        if found.at_load and found.target in MODULES and found.target != found.importer:
            graph[found.importer].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("imports in a circle: " + " -> ".join(reversed(error.args[1])))


def test_client_and_schema_load_only_the_standard_library_and_msgpack() -> None:
    allowed = sys.stdlib_module_names | {"msgpack", "ingest_client", "ingest_schema"}
    wrong = [
        f"{found.importer} imports {found.target}"
        for found in IMPORTS
        if found.at_load
        and found.importer.partition(".")[0] in {"ingest_client", "ingest_schema"}
        and found.target.partition(".")[0] not in allowed
        and not (found.importer in LOADED_WITH_TORCH and found.target.partition(".")[0] == "torch")
        and not (found.importer.startswith(PLUGIN) and found.target.partition(".")[0] == "mlflow")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(SOURCES))
def test_every_public_name_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None)
    assert names, f"{package} says nowhere what is public"
    assert [name for name in names if not hasattr(module, name)] == []
    assert sorted(set(names)) == sorted(names), "a name stands twice in __all__"


@pytest.fixture(scope="module")
def loaded_by_import_ingest() -> set[str]:
    """Modules that `import ingest` adds to those of a bare interpreter, in a process of its own."""
    probe = "import sys, json; before = set(sys.modules); import ingest; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout))


def test_importing_the_face_loads_no_heavy_package(loaded_by_import_ingest: set[str]) -> None:
    """A training script pays for `import ingest` in each of its processes and DataLoader workers."""
    assert {name.partition(".")[0] for name in loaded_by_import_ingest} & HEAVY == set()


def test_importing_the_face_loads_few_modules(loaded_by_import_ingest: set[str]) -> None:
    assert len(loaded_by_import_ingest) <= CLIENT_MODULES_MAX, sorted(loaded_by_import_ingest)

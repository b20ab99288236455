"""Imports go down only: a package may import the packages listed for it, and nothing else."""

import ast
from pathlib import Path

import deepgenre

ROOT = Path(deepgenre.__file__).parent

# From the ground up: each row may import those before it. Modules beside the packages stand in
# rows of their own.
ORDER = [
    "errors",
    "files",
    "sealed_lines",
    "log",
    "summary",
    "interrupt",
    "executors",
    "isolated",
    "devices",
    "processes",
    "audio",
    "models",
    "data",
    "config",
    "weights",
    "evaluation",
    "training",
    "runtimes",
    "inference",
    "explain",
    "synthesis",
    "library",
    "fewshot",
    "doctor",
    "server",
    "cli",
    "api",
    "main",
]
# Within a package, modules that import none of the others of it but these.
LOWEST = {
    "models": {"lowering", "pooling", "matrix_products", "single_channel", "convolution", "layers"},
    "data": {"clip", "settings"},
    "data.datasets": set(),
}


def imported_modules(path: Path) -> set[str]:
    """Returns the names below 'deepgenre' that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "deepgenre":
            names |= {f"deepgenre.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.removeprefix("deepgenre.") for name in names if name.startswith("deepgenre.")}


def test_the_table_holds_every_package_and_module():
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert modules | packages == set(ORDER)


def test_imports_go_down_only():
    upward = []
    for path in sorted(ROOT.rglob("*.py")):
        package = path.relative_to(ROOT).with_suffix("").parts[0]
        if package == "__init__":
            continue
        for name in imported_modules(path):
            target = name.split(".")[0]
            if target != package and ORDER.index(target) >= ORDER.index(package):
                upward.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not upward


def test_no_module_imports_itself_in_a_circle():
    graph = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {target for target in _targets(path) if target != name}
    while graph:
        free = [name for name, targets in graph.items() if not targets & graph.keys()]
        assert free, f"modules that import each other: {sorted(graph)}"
        for name in free:
            del graph[name]


def _targets(path: Path) -> set[str]:
    """Returns the modules below `deepgenre` that a file imports at its top, by dotted path."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deepgenre"):
            base = (node.module or "").removeprefix("deepgenre").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}" if base else alias.name
                exists = (ROOT / f"{full.replace('.', '/')}.py").exists()
                found.add(full if exists else base)
    return found


def test_shared_modules_import_none_of_their_siblings():
    for package, lowest in LOWEST.items():
        for name in lowest:
            imported = imported_modules(ROOT / package.replace(".", "/") / f"{name}.py")
            siblings = {other for other in imported if other.startswith(f"{package}.")}
            assert siblings <= {f"{package}.{other}" for other in lowest}

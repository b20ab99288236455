"""Imports go down only: a module may import what stands on a lower floor, and nothing else."""

import ast
from pathlib import Path

import deepgenre

PACKAGE = Path(deepgenre.__file__).parent

# From the ground up. Modules of one floor do not import each other.
FLOORS = [
    {"errors"},
    {
        "nearest",
        "interrupt",
        "devices",
        "log",
        "metrics",
        "ffmpeg",
        "splits",
        "calibration",
        "contradictions",
        "stamps",
        "mel",
        "windowing",
        "order",
    },
    {
        "frontend",
        "audio",
        "losses",
        "store",
        "tf_checkpoint",
        "classes",
        "composer",
        "outputs",
        "tags",
        "delta",
        "file_tags",
        "search",
    },
    {
        "augment",
        "device_frontend",
        "models",
        "datasets",
        "plots",
        "rbm",
        "kmeans",
        "parquet",
        "vectors",
        "playlists",
        "retag",
    },
    {"config", "spec", "transcode", "pipeline", "resume"},
    {"optim", "state", "features", "hear", "restored", "feed"},
    {"step", "checkpoint", "prepare"},
    {"import_musicnn"},
    {"weights", "plan", "transfer", "listen"},
    {"pretrain", "aggregate", "taggram"},
    {"start", "evaluate", "predict", "export", "import_weights", "tagger"},
    {"fit", "calibrate", "embed", "library_report"},
    {"similar", "organize"},
    {"train"},
    {"demo", "command"},
    {"modes"},
    {"main"},
]
# Within a package, from the ground up too.
PACKAGES = {"models": ["pooling", "convolution", "layers"], "datasets": ["clip", "discover"]}


def floor_of(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if module in floor)


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


def test_every_module_has_a_floor():
    top_level = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert top_level | packages == set().union(*FLOORS)


def test_imports_go_down_only():
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        module = parts[0]
        if module == "__init__":
            continue
        for name in imported_modules(path):
            target = name.split(".")[0]
            if target != module and floor_of(target) >= floor_of(module):
                upward.append(f"{'.'.join(parts)} imports {name}")
    assert not upward


def test_shared_layers_import_no_family():
    for package, lowest in PACKAGES.items():
        for name in lowest:
            imported = imported_modules(PACKAGE / package / f"{name}.py")
            siblings = {other for other in imported if other.startswith(f"{package}.")}
            assert siblings <= {f"{package}.{other}" for other in lowest}

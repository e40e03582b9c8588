"""The floors of the house: a module imports only those below it, and none in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import dgex_jax

ROOT = Path(dgex_jax.__file__).parent
FLOORS = (
    ("errors", "config", "parts", "rawfiles"),
    ("io",),
    ("simulate",),
    ("prepare",),
    ("compiled", "train", "baselines", "methods"),
    ("scores", "adjusted_r2", "weight_hubs"),
    ("download",),
    ("plots",),
    ("pages",),
    ("model",),
    ("diagnose", "estimators", "verify"),
    ("cli", "cli_models", "cli_options"),
)
WITHOUT_JAX = ("errors", "config", "parts", "rawfiles", "io", "simulate", "prepare")


def imports(path: Path) -> set[str]:
    """What a module imports, anywhere in it, types included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def modules() -> dict[str, set[str]]:
    """Module of the package, without its name in front → the modules it imports."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py"
    }
    imported = {name: imports(path) for name, path in paths.items()}
    return {name: {one for one in paths if f"dgex_jax.{one}" in imported[name]} for name in paths}


def test_no_arrow_points_up_and_none_closes_a_circle() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    graph = modules()
    assert {name.partition(".")[0] for name in graph} == set(floor)
    up = [
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in others
        if floor[other.partition(".")[0]] > floor[name.partition(".")[0]]
    ]
    assert up == []
    TopologicalSorter(graph).prepare()


def test_reading_and_preparing_need_no_jax() -> None:
    for name in WITHOUT_JAX:
        for path in [ROOT / f"{name}.py", *(ROOT / name).rglob("*.py")]:
            if path.is_file():
                tops = {one.partition(".")[0] for one in imports(path)}
                assert not tops & {"jax", "jaxlib", "flax", "optax"}, path

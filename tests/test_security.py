"""What the package never does, whatever its input (docs/security.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dgex_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_IMPORTS = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"),
    *("subprocess", "pty", "commands", "code", "runpy", "yaml"),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "execv", "spawnv"}


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {(node.module or "").split(".")[0]}
    return set()


def called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    # A method of one's own (`re.compile`, `jax.jit(...).compile`) is another thing.
    of_os = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    return node.func.attr if of_os and node.func.value.id in {"os", "builtins"} else ""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_runs_what_a_file_says(module: Path) -> None:
    # Asks git for the commit of the checkout that the package itself lies in, and nothing else.
    allowed = {"subprocess"} if module == PACKAGE / "io" / "manifest.py" else set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        assert not imported(node) & FORBIDDEN_IMPORTS - allowed, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            assert called(node) not in FORBIDDEN_CALLS, f"line {node.lineno}"
            for keyword in node.keywords:
                pickles = keyword.arg == "allow_pickle" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                )
                assert not pickles, f"line {node.lineno}"
                assert keyword.arg != "shell", f"line {node.lineno}"
            if called(node) == "" and isinstance(node.func, ast.Attribute):
                loads = node.func.attr == "load" and ast.unparse(node.func) == "np.load"
                assert not loads or any(key.arg == "allow_pickle" for key in node.keywords)


def test_imports_are_of_names_that_stand_in_the_code() -> None:
    """No file decides what is imported: constants, or names out of a table of the module itself."""
    tables = {
        ("__init__.py", "_HOMES[name]"),
        ("io/zarr.py", "name"),
        ("methods/kinds.py", "f'dgex_jax.methods.{module}'"),
        ("methods/members.py", "f'dgex_jax.methods.{home.module}'"),
    }
    seen = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                (argument,) = node.args
                if not isinstance(argument, ast.Constant):
                    seen.add((str(module.relative_to(PACKAGE)), ast.unparse(argument)))
    assert seen == tables

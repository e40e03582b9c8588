"""What `pip install dgex-jax` brings works on its own, far from any checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
pytestmark = pytest.mark.long


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT]
    subprocess.run(built, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    # Models that come with the checkout are no part of it.
    assert wheel.stat().st_size < 1e6
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info") for top in tops} == {"dgex_jax", "dgex_jax-0.1.0"}
    assert {"dgex_jax/py.typed", "dgex_jax-0.1.0.dist-info/licenses/LICENSE"} <= set(names)
    here = {str(path.relative_to(CHECKOUT)) for path in CHECKOUT.joinpath("dgex_jax").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here


def test_every_step_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    install = [*PIP, "install", "--no-deps", "--target", installed, wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(sys.executable, "-P", "-c", "import dgex_jax; print(dgex_jax.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    dgex = str(installed / "bin" / "dgex")
    study = CHECKOUT.joinpath("tests", "tiny.toml").read_text(encoding="utf-8")
    tmp_path.joinpath("study.toml").write_text(study, encoding="utf-8")
    run(dgex, "prepare", "study.toml", "-o", "prepared.h5", "-q")
    small = ["--hidden-layers", "1", "--units", "8", "--epochs", "1", "-q"]
    run(dgex, "train", "prepared.h5", "-o", "run", *small)
    run(dgex, "export", "run", "prepared.h5", "-o", "model")
    assert "SIMULATED" in run(dgex, "info", "model")
    (geo,) = tmp_path.glob("prepared.h5.raw/*.gctx")
    run(dgex, "predict", "model", str(geo), "-o", "out.gctx", "--platform", "microarray", "-q")
    assert tmp_path.joinpath("out.gctx").stat().st_size > 0

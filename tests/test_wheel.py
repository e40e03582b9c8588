"""What `pip install dgex-jax` brings works on its own, far from any checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from dgex_jax import __version__

CHECKOUT = Path(__file__).parents[1]
pytestmark = pytest.mark.long


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` of what lies in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    # Models that come with the checkout are no part of it.
    assert wheel.stat().st_size < 1e6
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info") for top in tops} == {
        "dgex_jax",
        f"dgex_jax-{__version__}",
    }
    licence = f"dgex_jax-{__version__}.dist-info/licenses/LICENSE"
    assert {"dgex_jax/py.typed", licence} <= set(names)
    here = {str(path.relative_to(CHECKOUT)) for path in CHECKOUT.joinpath("dgex_jax").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here
    templates = CHECKOUT.joinpath("dgex_jax", "pages", "templates").iterdir()
    assert {f"dgex_jax/pages/templates/{path.name}" for path in templates} <= set(names)


def test_the_sdist_makes_the_same_wheel_and_holds_what_is_committed(wheel, tmp_path) -> None:
    packed = build("sdist", CHECKOUT, tmp_path)
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / packed.name.removesuffix(".tar.gz")
    assert build("wheel", source, tmp_path / "again").read_bytes() == wheel.read_bytes()
    git = shutil.which("git")
    if git is None or not CHECKOUT.joinpath(".git").exists():
        pytest.skip("not a checkout of git: what is committed can't be told")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    committed = {name for name in listed.stdout.split("\0") if name}
    here = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert committed - here == set()


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
    assert "SIMULATED" in run(dgex, "info", "model", "--html", "card.html")
    (geo,) = tmp_path.glob("prepared.h5.raw/*.gctx")
    to = ["-o", "out.gctx", "--report", "out.html"]
    run(dgex, "predict", "model", str(geo), *to, "--platform", "microarray", "-q")
    for name in ("out.gctx", "card.html", "out.html"):
        assert tmp_path.joinpath(name).stat().st_size > 0

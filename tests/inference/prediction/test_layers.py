"""Outputs with further layers and numbers of each profile: read by others; all of it or none."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io import partial, wide, writers
from dgex_jax.io.manifest import read_record, sidecar, write_sidecar
from dgex_jax.io.zarr import check_zarr
from dgex_jax.model import outputs
from dgex_jax.model.outputs import Output, check_output, files_of, open_output, outputs_in
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from pathlib import Path

N, N_GENES = 3 * BATCH + 37, 9
PROFILES, GENES = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(N_GENES)]
LAYERS, COLUMNS = ("lower", "upper"), ("unlike_training", "reconstructed")
FURTHER: dict[str, Any] = {"layers": LAYERS, "profile_columns": COLUMNS}
RNG = np.random.default_rng(17)
X = RNG.normal(size=(N, N_GENES)).astype(np.float32)
VALUES = {"": X, "lower": X - np.float32(0.1), "upper": X + np.float32(1 / 3)}
OF_PROFILES = RNG.random((N, 2)).astype(np.float32)
OF_PROFILES[5, 0] = np.nan
RESUMED = ("a.gctx", "a.h5ad", "a.zarr")
FORMATS = (*RESUMED, "a.gct", "a.gct.gz", "a.tsv", "a.tsv.gz", "a.csv", "a.parquet")
NEEDS = {"h5ad": "anndata", "zarr": "zarr", "parquet": "pyarrow"}
TOLD = {
    "made_by": "dgex predict",
    "options": {"interval": 0.9},
    "mapping": "",
    "input": {"sha256": "1"},
    "model": {"simulated": False, "method": "n", "sha256": "ab"},
}


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the journal, or a shard, is a batch."""
    monkeypatch.setattr(partial, "RUN_BYTES", 1)
    monkeypatch.setattr("dgex_jax.io.zarr.default_profiles_per_shard", lambda _: BATCH)


def output(path: Path, *, further: Any = None, **how: Any) -> Output:
    pytest.importorskip(NEEDS.get(path.name.split(".")[1], "numpy"))
    about = pd.DataFrame({"tissue": ["liver"] * N, COLUMNS[0]: 2}, index=PROFILES)
    genes = pd.DataFrame({"source": ["inferred"] * N_GENES}, index=GENES)
    options = {"record": {"made_by": "dgex predict"}} | (FURTHER if further is None else further)
    return Output(path, PROFILES, GENES, about, genes, TOLD, {"options": "x"}, **options | how)


def fill(target: Output, step: int = 100, stop: int | None = None) -> None:
    """Write what is pending in blocks; fail before the profile `stop`."""
    with open_output(target) as writer:
        for run in writer.pending():
            for start in range(run.start, run.stop, step):
                if stop is not None and start >= stop:
                    raise InterruptedError("unplugged")
                rows = slice(start, min(start + step, run.stop))
                layers = {name: VALUES[name][rows] for name in reversed(target.layers)}
                held = OF_PROFILES[rows] if target.profile_columns else None
                writer.append(X[rows], layers, held)


def stopped(target: Output, stop: int = 2 * BATCH, step: int = BATCH) -> None:
    with pytest.raises(InterruptedError, match="unplugged"):
        fill(target, step, stop)


def pending(target: Output) -> tuple[slice, ...]:
    """Ask what is to be written, and stop."""
    found: list[slice] = []

    def ask() -> None:
        with open_output(target) as writer:
            found.extend(writer.pending())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ask()
    return tuple(found)


def contents(folder: Path) -> dict[str, bytes]:
    """Files that are not hidden, by their paths."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def read(path: Path) -> tuple[dict[str, np.ndarray], pd.DataFrame | None]:
    """Values of a file, and of the layers in it, and its profiles' metadata, if it has any."""
    if path.suffix in (".h5ad", ".zarr"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anndata = pytest.importorskip("anndata")
            data = (anndata.read_h5ad if path.suffix == ".h5ad" else anndata.read_zarr)(path)
        assert (list(data.obs_names), list(data.var_names)) == (PROFILES, GENES)
        return {"": data.X, **data.layers}, data.obs
    if path.suffix == ".parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(path)
        found = table.to_pandas().set_index("profile")
    elif ".gct" not in path.name:
        found = pd.read_csv(path, sep="," if ".csv" in path.name else "\t", index_col="profile")
    else:
        parse = pytest.importorskip("cmapPy.pandasGEXpress.parse").parse
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                path.with_suffix(".plain.gct").write_bytes(packed.read())
            path = path.with_suffix(".plain.gct")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = parse(str(path))
        if path.name.endswith(".plain.gct"):
            path.unlink()
        assert list(data.row_metadata_df["source"]) == ["inferred"] * N_GENES
        # It sorts neither, but gives genes as rows.
        found, about = data.data_df.T, data.col_metadata_df
        assert (list(found.index), list(found.columns)) == (PROFILES, GENES)
        return {"": found.to_numpy(np.float32)}, about.replace(-666, np.nan)
    assert list(found.index) == PROFILES
    return {"": found.to_numpy(np.float32)}, None


@pytest.mark.parametrize("name", FORMATS)
def test_others_read_what_was_written_in_blocks_of_any_size(name, tmp_path) -> None:
    path, inside = tmp_path / name, name in ("a.h5ad", "a.zarr")
    fill(output(path))
    files = files_of(path, LAYERS, COLUMNS)
    ending = name.removeprefix("a")
    beside = [] if inside else [f"a.lower{ending}", f"a.upper{ending}"]
    table = [] if inside or ".gct" in name else [f"{name}.profiles.tsv"]
    assert [file.name for file in files] == [name, *beside, *table]
    there = {child.name for child in tmp_path.iterdir() if not child.name.startswith(".")}
    assert there == {one.name for file in files for one in (file, sidecar(file))}
    values, about = read(path)
    if not inside:
        values |= {layer: read(file)[0][""] for layer, file in zip(LAYERS, files[1:], strict=False)}
    for layer, expected in VALUES.items():
        assert np.asarray(values[layer]).dtype == np.float32
        assert values[layer].tobytes() == expected.tobytes()
    for file in files[1:] if about is None else []:
        assert read_record(sidecar(file))["belongs_to"] == name
    if about is None:
        about = pd.read_csv(files[-1], sep="\t", index_col="profile")
    else:
        # What the input tells under the same name is not lost.
        assert set(about["input_unlike_training"].astype(int)) == {2}
        assert list(about.columns[-2:]) == list(COLUMNS) or ".gct" in name
    assert list(about.index) == PROFILES
    found = about[list(COLUMNS)].to_numpy(np.float32)
    assert found.tobytes() == OF_PROFILES.tobytes()
    for file in files if name != "a.zarr" else []:
        (recorded,) = read_record(sidecar(file))["files"].items()
        assert recorded == (file.name, hashlib.sha256(file.read_bytes()).hexdigest())
        assert read_record(sidecar(file))["made_by"] == "dgex predict"
    once = contents(tmp_path)
    for step in (1, BATCH, N) if name in ("a.gctx", "a.h5ad") else (BATCH,):
        fill(output(path), step)
        assert contents(tmp_path) == once


def test_a_layer_says_what_it_is(tmp_path) -> None:
    fill(output(tmp_path / "a.gctx"))
    fill(output(tmp_path / "a.gct"))
    for layer in LAYERS:
        with h5py.File(tmp_path / f"a.{layer}.gctx") as file:
            assert json.loads(file.attrs["provenance"]) == TOLD | {"layer": layer}
        assert f"dgex_layer\t-666\t{layer}\t" in (tmp_path / f"a.{layer}.gct").read_text()
    assert "dgex_layer" not in (tmp_path / "a.gct").read_text()


def test_anndata_holds_layers_as_it_does_values(tmp_path) -> None:
    for name in ("a.h5ad", "a.zarr"):
        fill(output(tmp_path / name))
    with h5py.File(tmp_path / "a.h5ad") as file:
        for layer in LAYERS:
            array = file["layers"][layer]
            assert (array.dtype, array.chunks) == (file["X"].dtype, file["X"].chunks)
            assert dict(array.attrs) == dict(file["X"].attrs)
        assert list(file["obs"].attrs["column-order"])[-2:] == list(COLUMNS)
    group = pytest.importorskip("zarr").open_group(tmp_path / "a.zarr", mode="r")
    for layer in LAYERS:
        about = [tmp_path / "a.zarr" / name / "zarr.json" for name in ("X", f"layers/{layer}")]
        assert about[0].read_bytes() == about[1].read_bytes()
    assert group["obs/reconstructed"].shards == (BATCH,)
    assert check_zarr(tmp_path / "a.zarr") == 4


# Interrupted, and gone on


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the files of an undisturbed output."""
    known: dict[str, dict[str, bytes]] = {}

    def made(name: str) -> dict[str, bytes]:
        if name not in known:
            folder = tmp_path_factory.mktemp("straight")
            fill(output(folder / name))
            known[name] = contents(folder)
        return known[name]

    return made


@pytest.mark.parametrize("stop", [BATCH, 2 * BATCH, 701])
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_is_straight(name, stop, tmp_path, straight) -> None:
    path = tmp_path / name
    if name != "a.zarr":
        path.write_text("older")
    stopped(output(path, report=[].append), stop, 100)
    assert name == "a.zarr" or path.read_text() == "older"
    assert not (tmp_path / "a.lower.gctx").exists()
    kept = -(-stop // 100) * 100 // BATCH * BATCH
    said: list[str] = []
    with open_output(output(path, report=said.append)) as writer:
        assert writer.pending() == (slice(kept, N),)
        for start in range(kept, N, 50):
            rows = slice(start, start + 50)
            layers = {name: VALUES[name][rows] for name in LAYERS}
            writer.append(X[rows], layers, OF_PROFILES[rows])
    assert contents(tmp_path) == straight(name)
    files = [] if name == "a.zarr" else [path, *files_of(path, LAYERS, COLUMNS)[1:]]
    assert said == [f"{file}: resumes at profile {kept} of {N}" for file in files]


@pytest.mark.parametrize("lost", ["", ".lower", ".upper"])
def test_files_that_stopped_at_different_places(lost, tmp_path, straight) -> None:
    path = tmp_path / "a.gctx"
    stopped(output(path, report=[].append))
    (tmp_path / f"a{lost}.gctx.partial.json").unlink()
    assert pending(output(path, report=[].append)) == (slice(0, N),)
    fill(output(path, report=[].append), 70)
    assert contents(tmp_path) == straight("a.gctx")


@pytest.mark.parametrize("array", ["X", "layers/upper", "obs/reconstructed"])
def test_a_flipped_bit_of_any_array_is_found(array, tmp_path, straight) -> None:
    path, said = tmp_path / "a.h5ad", []
    stopped(output(path, report=[].append))
    unfinished = tmp_path / "a.h5ad.partial"
    with h5py.File(unfinished) as file:
        row = file[array].id.get_offset() + (BATCH + 3) * file[array][0].nbytes
    content = bytearray(unfinished.read_bytes())
    content[row] ^= 4
    unfinished.write_bytes(content)
    fill(output(path, report=said.append))
    cause = "not 512: values before that are damaged"
    assert said == [f"{path}: resumes at profile 256 of {N}, {cause}"]
    assert contents(tmp_path) == straight("a.h5ad")


@pytest.mark.parametrize(
    ("further", "told"),
    [
        (
            {"layers": (), "profile_columns": ()},
            "layers, layout (shape), metadata, profile columns",
        ),
        (FURTHER | {"layers": LAYERS[::-1]}, "layers"),
    ],
)
def test_other_layers_are_another_job(further, told, tmp_path, straight) -> None:
    path, said = tmp_path / "a.h5ad", []
    stopped(output(path, further=further, report=[].append))
    fill(output(path, report=said.append))
    assert said == [f"{path}: restarts, not at profile 512: not the same {told}"]
    assert contents(tmp_path) == straight("a.h5ad")


def test_a_layer_does_not_go_on_with_a_prediction_of_its_name(tmp_path, straight) -> None:
    alone, said = tmp_path / "a.lower.gctx", []
    stopped(output(alone, further={}, report=[].append))
    fill(output(tmp_path / "a.gctx", report=said.append))
    (line,) = said
    assert line.startswith(f"{alone}: restarts, not at profile 512: not the same layer")
    assert contents(tmp_path) == straight("a.gctx")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_of_a_store(order, tmp_path, straight) -> None:
    path = tmp_path / "a.zarr"
    for number in order:
        assert not path.exists()
        fill(output(path, part=(number, 3), report=[].append))
    assert contents(tmp_path) == straight("a.zarr")


@pytest.mark.parametrize("array", ["X/c.1.0", "layers/lower/c.1.0", "obs/unlike_training/c.1"])
def test_a_shard_is_there_with_all_its_files(array, tmp_path, straight) -> None:
    path, said = tmp_path / "a.zarr", []
    stopped(output(path))
    shard = tmp_path / "a.zarr.partial" / array
    shard.write_bytes(b"")
    assert pending(output(path, report=said.append)) == (slice(BATCH, N),)
    assert said == [f"{shard}: damaged, is written again"]
    fill(output(path))
    assert contents(tmp_path) == straight("a.zarr")


# What an older output left


@pytest.mark.parametrize("name", ["a.gctx", "a.gct.gz", "a.tsv", "a.parquet"])
def test_what_lay_beside_an_older_output_goes_with_it(name, tmp_path) -> None:
    path, ending = tmp_path / name, name.removeprefix("a")
    fill(output(path))
    # Somebody's own, a prediction of its own, and what belongs to another output.
    own, other, foreign = (tmp_path / f"a.{one}{ending}" for one in ("own", "other", "foreign"))
    own.write_text("mine")
    for file, record in ((other, {}), (foreign, {"belongs_to": f"b{ending}"})):
        file.write_text("mine")
        write_sidecar(file, record)
    kept = {one.name for file in (own, other, foreign) for one in (file, sidecar(file))}
    kept.remove(sidecar(own).name)
    before = contents(tmp_path)
    stopped(output(path, further={}, report=[].append), BATCH // 2, 1)
    assert contents(tmp_path) == before
    one = {"layers": LAYERS[:1], "profile_columns": ()}
    for further, left in ((one, [path, tmp_path / f"a.lower{ending}"]), ({}, [path])):
        fill(output(path, further=further))
        names = {found.name for file in left for found in (file, sidecar(file))}
        assert set(contents(tmp_path)) == names | kept
    # Without layers it is as if there had never been any.
    (tmp_path / "new").mkdir()
    fill(output(tmp_path / "new" / name, further={}))
    assert {key: contents(tmp_path)[key] for key in (name, sidecar(path).name)} == contents(
        tmp_path / "new"
    )


def test_a_layer_is_known_for_one_before_it_is_there(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.gctx"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_sidecar", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(output(path))
    assert files_of(path, LAYERS)[-1].exists()
    fill(output(path, further={}))
    assert set(contents(tmp_path)) == {path.name, sidecar(path).name}


@pytest.mark.parametrize(("name", "ends"), [("a.gct", "fill_lines"), ("a.parquet", "_finish")])
def test_an_older_output_stays_until_all_files_are_complete(
    name, ends, tmp_path, monkeypatch
) -> None:
    path = tmp_path / name
    fill(output(path))
    before = contents(tmp_path)
    where: Any = writers if ends == "fill_lines" else wide.ParquetWriter
    whole, calls = getattr(where, ends), iter(range(2))

    def full(*given: Any) -> None:
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        whole(*given)

    # The output and its first layer are complete; not so the second.
    monkeypatch.setattr(where, ends, full)
    with pytest.raises(DgexError, match=r"a\.upper\.\w+: can't be written: No space left"):
        fill(output(path))
    assert contents(tmp_path) == before


# What is refused


def test_blocks_that_do_not_fit(tmp_path) -> None:
    rows = slice(0, 10)
    good: dict[str, Any] = {name: VALUES[name][rows] for name in LAYERS}
    cases = [
        ({}, OF_PROFILES[rows], "layers {} do not fit"),
        (good | {"middle": X[rows]}, OF_PROFILES[rows], "'middle'"),
        (good | {"lower": X[:9]}, OF_PROFILES[rows], r"'lower': \(9, 9\)"),
        (good, None, r"profile values of shape \(10, 0\) do not fit 10 profiles x 2 columns"),
        (good, OF_PROFILES[:9], r"profile values of shape \(9, 2\)"),
    ]
    for name in ("a.gctx", "a.h5ad"):
        for layers, held, match in cases:
            with (
                pytest.raises(FormatError, match=match),
                open_output(output(tmp_path / name)) as writer,
            ):
                writer.append(X[rows], layers, held)
    with (
        pytest.raises(FormatError, match=r"layers .*'lower'.* do not fit a block"),
        open_output(output(tmp_path / "a.tsv", further={})) as writer,
    ):
        writer.append(X[rows], good)
    assert contents(tmp_path) == {}


def test_what_would_be_overwritten_or_removed_is_no_input(tmp_path) -> None:
    path = tmp_path / "a.gctx"
    (tmp_path / "a.upper.gctx").write_text("mine")
    check_output(path, tmp_path / "a.upper.gctx")
    match = r"a\.upper\.gctx: is the input, not to be overwritten"
    with pytest.raises(DgexError, match=match):
        check_output(path, tmp_path / "a.upper.gctx", layers=LAYERS)
    fill(output(path))
    # It would go with the older output.
    with pytest.raises(DgexError, match=match):
        check_output(path, tmp_path / "a.upper.gctx")
    (tmp_path / "b.lower.tsv").mkdir()
    with pytest.raises(DgexError, match=r"b\.lower\.tsv: can't be written: not a file"):
        check_output(tmp_path / "b.tsv", path, layers=LAYERS)


def test_inputs_whose_outputs_would_meet(tmp_path) -> None:
    inputs = [tmp_path / "a.gct", tmp_path / "a.lower.gct"]
    for path in inputs:
        path.write_text("#1.2\n1\t1\nName\tDescription\tp\ng\tg\t1\n")
    names = ["a.gctx", "a.lower.gctx"]
    assert [one.name for one in outputs_in(tmp_path / "out", inputs)] == names
    with pytest.raises(DgexError, match=r"lower\.gct: its output would be .*/a\.lower\.gctx, as"):
        outputs_in(tmp_path / "out", inputs, layers=LAYERS)


@pytest.mark.parametrize("name", ["a.gctx", "a.tsv"])
def test_the_disk_must_have_room_for_all_files(name, tmp_path, monkeypatch) -> None:
    needed = 4 * N * (3 * N_GENES + (2 if name == "a.tsv" else 0))
    free = needed - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, free=free))
    with pytest.raises(DgexError, match=f"needs {needed:,} bytes, the disk has {free:,} free"):
        fill(output(tmp_path / name))
    assert contents(tmp_path) == {}

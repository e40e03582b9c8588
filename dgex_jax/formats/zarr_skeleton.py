"""What a zarr store holds besides its values, made in memory; and a shard's bytes.

Nothing here touches the disk. zarr's own `LocalStore` writes a file beside its place and renames
it, but syncs neither file nor folder, so a power cut can leave an empty or half a shard under its
final name; and it does so in a thread that a Ctrl-C does not stop.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.zarr_job import checksum
from dgex_jax.formats.zarr_library import import_zarr, quiet

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.formats.zarr_layout import Layout

ROOT = "zarr.json"
OURS = "dgex"
"""Root attribute by which a store of ours is known."""


def skeleton(
    path: Path,
    layout: Layout,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    uns: dict[str, str],
    job: str,
) -> dict[str, bytes]:
    """Make all files of a store but those of its values, metadata consolidated.

    The root attribute `OURS` holds the checksums of all these files and of the root itself, since
    zarr gives its metadata none.

    Parameters
    ----------
    path
        Named in errors.
    layout
        Size and cut of ``X``.
    obs, var, uns
        As in AnnData.
    job
        Checksum of the job, kept in the root attribute.

    Returns
    -------
    dict
        Content by name; the same bytes for the same arguments.

    Raises
    ------
    FormatError
        Metadata that anndata can't write.
    """
    zarr, anndata = import_zarr(path)
    content: dict[str, Any] = {}
    store = zarr.storage.MemoryStore(content)
    # A flipped bit in what zstd has packed is unpacked to other values, unless it has a checksum.
    packed = zarr.codecs.ZstdCodec(level=3, checksum=True)
    try:
        with quiet(), zarr.config.set({"array.write_empty_chunks": True}):
            data = anndata.AnnData(obs=obs, var=var, uns=uns)
            data.strings_to_categoricals()
            group = zarr.open_group(store, mode="w", zarr_format=3)
            anndata.io.write_elem(
                group, "/", data, dataset_kwargs={"shards": None, "compressors": [packed]}
            )
            if "X" in group:
                del group["X"]
            _create(zarr, store, layout)
            zarr.consolidate_metadata(store)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: can't be written: {one_line(error)}") from error
    files = {name: buffer.to_bytes() for name, buffer in content.items()}
    root = json.loads(files.pop(ROOT))
    root["attributes"][OURS] = {
        "job": job,
        "profiles_per_shard": layout.profiles_per_shard,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    root["attributes"][OURS]["root"] = seal(root)
    return {**files, ROOT: json.dumps(root, indent=2).encode()}


def seal(root: dict[str, Any]) -> str:
    """Checksum of a root's metadata, all but that checksum itself."""
    attributes = root["attributes"]
    ours = {key: value for key, value in attributes[OURS].items() if key != "root"}
    return checksum({**root, "attributes": {**attributes, OURS: ours}})


def read_root(store: Path) -> dict[str, Any] | None:
    """Read the root metadata of a folder; None where it is no store of ours."""
    try:
        root: dict[str, Any] = json.loads((store / ROOT).read_bytes())
        # Whatever else is there: each of these is an error in what is no store of ours.
        ours = root["attributes"][OURS]
        known = isinstance(ours["job"], str) and isinstance(ours["files"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return root if known else None


class ShardEncoder:
    """Shards as bytes, by zarr.

    Parameters
    ----------
    path
        Named in errors.
    layout
        Size and cut of the matrix.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        zarr, _ = import_zarr(path)
        self._layout = layout
        self._content: dict[str, Any] = {}
        self._array = _create(zarr, zarr.storage.MemoryStore(self._content), layout)

    def __call__(self, shard: int, values: FloatArray) -> memoryview:
        """Encode the values ``(n, n_genes)`` of a shard."""
        self._array[self._layout.rows(shard)] = values
        return memoryview(self._content.pop(self._layout.file(shard)).as_buffer_like())


def _create(zarr: Any, store: Any, layout: Layout) -> Any:
    return zarr.create_array(
        store,
        name="X",
        shape=(layout.n_profiles, layout.n_genes),
        chunks=layout.chunks,
        shards=layout.shards,
        dtype="float32",
        filters=None,
        # zstd makes predictions smaller by a tenth only, and its bytes depend on its version.
        compressors=[zarr.codecs.Crc32cCodec()],
        # What is missing is read as missing, not as the mean of a gene.
        fill_value=np.nan,
        # One file a shard, no folder around each.
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
        zarr_format=3,
        # Chunks of zeros (or NaN) are there as well: what isn't there is damage.
        config={"write_empty_chunks": True},
    )

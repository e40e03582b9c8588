"""Checkpoints of a group: everything needed to go on, bit for bit, as if never stopped."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path, make_folder
from dgex_jax.formats.temporary import is_temporary, remove_temporary
from dgex_jax.formats.tensors import fill_tensors
from dgex_jax.provenance import SEAL, content_sum, sealed
from dgex_jax.training.loop import EpochRecord, Progress
from dgex_jax.training.record import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.training.epoch import State

CHECKPOINT_FORMAT = 1
KEPT = 2
"""Checkpoints on disk: the newest, and the one before in case the newest is damaged."""

LARGEST_SHARE = 0.05
"""Of the time, spent on writing checkpoints."""


class Checkpoints:
    """The checkpoints of one group in a folder of their own.

    An epoch is saved if, with it, no more than `LARGEST_SHARE` of the time goes into saving: every
    epoch or so of a small network, every few minutes of one whose state takes many gigabytes.
    Each checkpoint is a safetensors file and a manifest with its checksum, written after it; a
    file without a manifest is no checkpoint.

    Parameters
    ----------
    folder
        Where they lie; made when the first is saved.
    group_hash
        Of the configurations of the group's networks: other checkpoints are not touched.
    share
        Largest share of the time for saving; 1 or more saves every epoch.
    """

    def __init__(self, folder: Path, group_hash: str, share: float = LARGEST_SHARE) -> None:
        self._folder = folder
        self._hash = group_hash
        self._share = share
        self._last_end = time.monotonic()
        self._last_seconds = 0.0

    def is_due(self) -> bool:
        """Whether the epoch just done is to be saved."""
        since = time.monotonic() - self._last_end
        return self._last_seconds * (1 - self._share) <= since * self._share

    def save(self, progress: Progress) -> None:
        """Write one checkpoint, and remove all but the newest two.

        Raises
        ------
        DgexError
            The disk refuses it.
        """
        start = time.monotonic()
        epoch = progress.records[-1][0].epoch
        path = self._folder / f"epoch-{epoch:06}.safetensors"
        try:
            make_folder(self._folder)
            with atomic_path(path) as temporary:
                fill_tensors(temporary, to_arrays(progress), path)
                checksum = sha256(temporary)
            manifest = {
                "format_version": CHECKPOINT_FORMAT,
                "group_hash": self._hash,
                "epoch": epoch,
                "file": path.name,
                "sha256": checksum,
            }
            write_json(path.with_suffix(".json"), sealed(manifest))
            for old in self._manifests()[KEPT:]:
                remove(old)
            self._remove_strays()
        except OSError as error:
            raise DgexError(f"{path}: can't be written: {one_line(error)}") from error
        self._last_end = time.monotonic()
        self._last_seconds = self._last_end - start

    def newest(self, like: Sequence[State], report: Callable[[str], None]) -> Progress | None:
        """Read the newest checkpoint of this group that is whole; damaged ones are reported.

        `like` are states of the same shapes, as `loop.first_states` gives them.
        """
        for manifest in self._manifests():
            content = read_manifest(manifest)
            if content is not None and content.get("group_hash") != self._hash:
                continue
            path = manifest.with_suffix(".safetensors")
            try:
                verify(path, content)
                return from_arrays(load_file(path), like)
            except (DgexError, OSError, SafetensorError, KeyError, ValueError) as error:
                report(f"{path}: damaged checkpoint skipped: {error}")
        return None

    def clear(self) -> None:
        """Remove the folder with all checkpoints, once their work is done or out of date."""
        if not self._folder.is_dir():
            return
        for manifest in self._manifests():
            remove(manifest)
        for left in self._folder.iterdir():
            remove_temporary(left)
        self._folder.rmdir()

    def _remove_strays(self) -> None:
        """Remove what killed processes left, of whatever epoch; the folder is the group's own."""
        for path in self._folder.iterdir():
            alone = path.suffix == ".safetensors" and not path.with_suffix(".json").exists()
            if alone or is_temporary(path.name):
                remove_temporary(path)

    def _manifests(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.json"), reverse=True)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Read a manifest; ``None`` if it is damaged (older ones have no checksum of themselves)."""
    content = read_json(path)
    if content is not None and content.get(SEAL, content_sum(content)) != content_sum(content):
        return None
    return content


def verify(path: Path, manifest: Mapping[str, Any] | None) -> None:
    """Raise `DgexError` unless the file is the one that `manifest` describes."""
    if manifest is None or manifest.get("format_version") != CHECKPOINT_FORMAT:
        raise DgexError("its manifest can't be read")
    if sha256(path) != manifest.get("sha256"):
        raise DgexError("its checksum is not that of the manifest")


def remove(manifest: Path) -> None:
    """Remove one checkpoint, its manifest first, so that no manifest is left without its file."""
    manifest.unlink()
    manifest.with_suffix(".safetensors").unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_arrays(progress: Progress) -> dict[str, np.ndarray[Any, Any]]:
    """Give every array of a progress a name, such as ``state0.params['hidden1']['kernel']``."""
    arrays = {
        "records/errors": np.array([[one.errors for one in row] for row in progress.records]),
        "records/learning_rates": np.array(
            [[one.learning_rates for one in row] for row in progress.records]
        ),
        "records/seconds": np.array([row[0].seconds for row in progress.records]),
    }
    for number, state in enumerate(progress.states):
        for name, leaf in named_leaves(state):
            # Not np.ascontiguousarray, which makes vectors of scalars.
            arrays[f"state{number}{name}"] = np.asarray(leaf, order="C")
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], like: Sequence[State]) -> Progress:
    """Undo `to_arrays`.

    Raises
    ------
    DgexError
        An array has another shape or dtype than in `like`.
    KeyError
        An array is missing.
    """
    states = []
    for number, template in enumerate(like):
        leaves = []
        for name, leaf in named_leaves(template):
            found, wanted = arrays[f"state{number}{name}"], np.asarray(leaf)
            if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
                raise DgexError(f"state{number}{name} is {found.dtype} of shape {found.shape}")
            leaves.append(found)
        states.append(jax.tree.unflatten(jax.tree.structure(template), leaves))
    errors, rates = arrays["records/errors"], arrays["records/learning_rates"]
    records = [
        [
            EpochRecord(epoch, *values, float(seconds))
            for values in zip(errors[epoch], rates[epoch], strict=True)
        ]
        for epoch, seconds in enumerate(arrays["records/seconds"])
    ]
    return Progress(records, states)


def named_leaves(state: State) -> list[tuple[str, Any]]:
    """List the arrays of a state with their places in it, as ``.params['hidden1']['kernel']``."""
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(state)]

"""All that bits are flipped in, by name."""

from __future__ import annotations

from tests.reliability.bitrot_artefact import Artefact
from tests.reliability.bitrot_models import (
    by_name,
    make_checkpoint,
    make_model,
    make_run,
    newest_checkpoint,
    of_run,
    read_a_model,
    read_checkpoint,
    read_run,
)
from tests.reliability.bitrot_outputs import (
    interrupted,
    make_store,
    read_checked_store,
    read_store,
    shards,
)
from tests.reliability.bitrot_studies import (
    make_npz,
    make_prepared,
    outside_chunks,
    read_prepared,
    studies,
)

ALL = (
    Artefact("model folder", make_model, read_a_model),
    Artefact("checkpoint", make_checkpoint, read_checkpoint, newest_checkpoint),
    Artefact("finished run", make_run, read_run, of_run, names=by_name),
    Artefact("prepared.h5", make_prepared, read_prepared, studies, outside_chunks),
    Artefact("prepared.npz", make_npz, read_prepared),
    Artefact("zarr store, checked", make_store, read_checked_store),
    Artefact("zarr values, by anndata alone", make_store, read_store, shards, foreign=True),
    interrupted("a.gctx"),
    interrupted("a.h5ad"),
    interrupted("a.zarr"),
)
ARTEFACTS = {artefact.name: artefact for artefact in ALL}

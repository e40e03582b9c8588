"""Files of which no checksum is known are proven whole by their format."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from dgex_jax.download.whole import require_whole
from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import write_gctx

LONG = 3 << 20
"""More bytes than any reader takes at once."""


def text_of(wanted: str) -> bytes:
    head = {"gct": b"#1.2\n9\t9\n", "geuvadis": b"TargetID\tGene_Symbol\tChr\tCoord\tA\n"}
    return head.get(wanted, b"\x89HDF\r\n\x1a\n") + np.random.default_rng(1).bytes(LONG)


@pytest.mark.parametrize("wanted", ["gct", "geuvadis", "gctx.gz"])
def test_gzip_is_read_to_its_checksum(tmp_path, wanted) -> None:
    path = tmp_path / "file"
    packed = gzip.compress(text_of(wanted), 1)
    path.write_bytes(packed)
    require_whole(path, wanted)
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    for damaged in (packed[:-1], packed[: LONG // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"truncated|damaged"):
            require_whole(path, wanted)


def test_hdf5_has_the_length_it_claims(tmp_path) -> None:
    path = tmp_path / "file"
    ids = tuple(f"{n}_at" for n in range(400))
    write_gctx(path, Expression("", np.ones((50, 400), np.float32), ids[:50], ids))
    require_whole(path, "gctx")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="truncated"):
        require_whole(path, "gctx")


@pytest.mark.parametrize("wanted", ["gct", "geuvadis", "gctx", "gctx.gz", "gene map"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(b"<html>", mtime=0), b"\x89HDF\r\n\x1a\n"]
)
def test_something_else_is_refused(tmp_path, wanted, content) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=str(path)):
        require_whole(path, wanted)

"""A study file for the paper's study, its paths those of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.download.check import ROLES, place_of
from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import make_folder
from dgex_jax.formats.lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.download.sources import Source

NAME = "study.toml"
HEAD = """\
# The paper's study. All that is not here is the paper's default (docs/study.md).
name = "paper"
title = "GEO arrays, GTEx and 1000 Genomes: the setting of the paper"

[files]
"""


def write_template(folder: Path, sources: Sequence[Source]) -> Path:
    """Write ``study.toml`` into a folder (made if missing), with the files of the paper's study.

    Of two files for one role the one that is there is taken, else the paper's own.

    Raises
    ------
    DgexError
        There is a ``study.toml``, which is never written over, or no writing.
    """
    path = folder / NAME
    if path.exists() or path.is_symlink():
        raise DgexError(f"{path}: is there already and is left as it is")
    try:
        make_folder(folder)
    except OSError as error:
        raise DgexError(f"{folder}: can't be made: {error.strerror}") from error
    lines = [HEAD]
    for role in ROLES:
        of_role = [source for source in sources if source.role == role]
        source = next((s for s in of_role if place_of(s, folder) is not None), of_role[0])
        place = place_of(source, folder)
        name, note = (place.name, "") if place else (source.file, "  # not there yet")
        lines.append(f'{role} = "{name}"{note}\n')
    write_lines(path, lines)
    return path

"""A folder that a user filled: what is sound is called so, everything else is found."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dgex_jax.data.study import read_study
from dgex_jax.download.check import check_folder, study_line
from dgex_jax.download.content import id_kind
from dgex_jax.download.sources import read_sources
from dgex_jax.download.template import write_template
from dgex_jax.errors import DgexError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import write_gct
from dgex_jax.formats.gctx import write_gctx
from dgex_jax.formats.rpkm import write_rpkm

GENES = tuple(f"ENSG{number:011d}" for number in range(300))
MAPS = {"map-lm": range(40), "map-tg": range(30, 250)}
SHAPES = {"bgedv2": (25, 310), "gtex-v4": (12, 300), "geuvadis": (8, 290)}


def expression(shape: tuple[int, int], genes: tuple[str, ...]) -> Expression:
    values = np.random.default_rng(3).uniform(4, 15, shape).astype(np.float32)
    return Expression("", values, tuple(f"S{n}" for n in range(shape[0])), genes[: shape[1]])


def text_of_map(numbers: range) -> str:
    return "".join(f"G{n}\t{GENES[n]}\t{n}_at,{n}_x_at\n" for n in numbers)


@pytest.fixture
def sources():
    """The sources of the package, as small as the files of `folder`."""
    known = []
    for source in read_sources():
        profiles, genes = SHAPES.get(source.name, (0, len(MAPS.get(source.name, ()))))
        changes = {"profiles": profiles, "genes": genes, "size": 0, "sha256": ""}
        if source.name in MAPS:
            text = text_of_map(MAPS[source.name])
            changes["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        known.append(replace(source, **changes))
    return known


@pytest.fixture
def folder(tmp_path, sources):
    """Five files under the names of the paper's, small."""
    place = {source.name: tmp_path / source.file for source in sources}
    probes = tuple(f"{n}_at" for n in range(310))
    write_gctx(place["bgedv2"], expression(SHAPES["bgedv2"], probes))
    versioned = tuple(f"{gene}.7" for gene in GENES)
    write_gct(place["gtex-v4"], expression(SHAPES["gtex-v4"], versioned))
    write_rpkm(place["geuvadis"], expression(SHAPES["geuvadis"], versioned))
    for name, numbers in MAPS.items():
        place[name].write_text(text_of_map(numbers))
    return tmp_path


@pytest.fixture
def place(folder, sources):
    """Where the file of a source is."""
    return {source.name: folder / source.file for source in sources}


@pytest.fixture
def look(folder, sources):
    """Give a function that gives the findings by name."""

    def run() -> dict[str, object]:
        return {found.source.name: found for found in check_folder(folder, sources)}

    return run


def states(found) -> dict[str, str]:
    return {name: finding.state for name, finding in found.items()}


def test_what_is_sound_is_called_so(look, sources, folder) -> None:
    before = sorted(folder.iterdir())
    found = look()
    assert list(found) == [source.name for source in sources]
    sound = {"bgedv2", "gtex-v4", "geuvadis", "map-lm", "map-tg"}
    assert states(found) == {
        source.name: "sound" if source.name in sound else "missing" for source in sources
    }
    assert all("\n" not in finding.line for finding in found.values())
    text = found["bgedv2"].text
    assert "25 profiles x 310 probes (0_at, 1_at, 2_at, …; profiles S0, …)" in text
    assert "40 of 40 landmarks; 220 of 220 targets" in text
    assert "(none is known)" in text
    assert "12 profiles x 300 Ensembl genes" in found["gtex-v4"].text
    assert "sha256 as published" in found["map-lm"].text
    assert "missing   gtex: GTEx_RNASeq_RPKM_n2921x55993.gctx" in found["gtex"].line
    assert study_line(list(found.values())) == "the paper's study has all it needs"
    assert sorted(folder.iterdir()) == before


def test_unpacked_files_count_as_well(look, place) -> None:
    packed = place["geuvadis"]
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert look()["geuvadis"].state == "sound"


def test_another_checksum_is_found(look, place, folder) -> None:
    place["map-lm"].write_text(text_of_map(range(40)).replace("G7", "G7b"))
    name = place["bgedv2"].name
    sha256 = hashlib.sha256(place["bgedv2"].read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{sha256} *{name}\n{'0' * 64}  {place['gtex-v4'].name}\n")
    found = look()
    assert "BUT its sha256 is not" in found["map-lm"].text
    assert "BUT its sha256 is not 0000" in found["gtex-v4"].text
    assert "sha256 as SHA256SUMS" in found["bgedv2"].text
    assert study_line(list(found.values())) == "the paper's study still needs: gtex, landmarks"


@pytest.mark.parametrize("name", ["bgedv2", "gtex-v4", "geuvadis"])
def test_damage_is_found_and_the_others_are_still_looked_at(look, place, name) -> None:
    whole = place[name].read_bytes()
    for damaged in (whole[:-500], b"", b"<!DOCTYPE html>" + whole, whole[:3000]):
        place[name].write_bytes(damaged)
        found = look()
        assert [n for n, state in states(found).items() if state == "not sound"] == [name]
        assert str(place[name]) in found[name].text


@pytest.mark.parametrize(
    ("shape", "fault"),
    [((25, 309), "not the 310 genes of"), ((24, 310), "not the 25 profiles of the paper")],
)
def test_another_shape_is_found(look, place, shape, fault) -> None:
    write_gctx(place["bgedv2"], expression(shape, tuple(f"{n}_at" for n in range(310))))
    assert f"BUT {fault}" in look()["bgedv2"].text


def test_genes_of_another_kind_are_found(look, place) -> None:
    write_gctx(place["bgedv2"], expression((25, 310), tuple(str(780 + n) for n in range(310))))
    found = look()["bgedv2"]
    assert found.state == "not sound"
    assert "310 Entrez genes" in found.text
    assert "BUT none of the landmarks is in it; BUT none of the targets is in it" in found.text


def test_a_value_that_is_no_number_is_found_among_the_genes_of_the_study(look, place) -> None:
    path = place["gtex-v4"]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cells = lines[3 + 120].split("\t")
    lines[3 + 120] = "\t".join([*cells[:-1], "high"])
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = look()["gtex-v4"]
    assert f"row '{cells[0]}'" in found.text
    assert "'high' is not a number" in found.text


def test_values_that_are_missing_are_counted(look, place) -> None:
    probes = tuple(f"{n}_at" for n in range(310))
    holes = expression((25, 310), probes)
    holes.values[0, :5] = np.nan
    write_gctx(place["bgedv2"], holes)
    assert "5 of 930 missing" in look()["bgedv2"].text
    holes.values[:] = np.nan
    write_gctx(place["bgedv2"], holes)
    assert "BUT it has no values" in look()["bgedv2"].text


def test_without_maps_the_files_are_looked_at_all_the_same(look, place) -> None:
    place["map-lm"].unlink()
    place["map-tg"].write_text("nonsense\n")
    found = look()
    assert states(found)["map-tg"] == "not sound"
    assert states(found)["geuvadis"] == "sound"
    assert "landmarks" not in found["bgedv2"].text


def test_packed_gctx_is_read_to_its_end(look, place) -> None:
    packed = gzip.compress(place["bgedv2"].read_bytes())
    path = place["l1000-level3"]
    path.write_bytes(packed)
    found = look()["l1000-level3"]
    assert (found.state, "unpack it before use" in found.text) == ("sound", True)
    for damaged in (packed[:-9], gzip.compress(b"text"), b"text"):
        path.write_bytes(damaged)
        assert look()["l1000-level3"].state == "not sound"
    path.with_suffix("").write_bytes(gzip.decompress(packed))
    path.unlink()
    assert look()["l1000-level3"].state == "sound"


def test_folders_that_are_no_use(tmp_path, sources) -> None:
    with pytest.raises(DgexError, match="no such folder"):
        list(check_folder(tmp_path / "none", sources))
    with pytest.raises(DgexError, match="has none of the files"):
        list(check_folder(tmp_path, sources))


@pytest.mark.parametrize(
    ("text", "fault"),
    [("abc  file\n", "line 1: is not"), (f"{'0' * 64}  a\n{'1' * 64}  a\n", "line 2: another")],
)
def test_checksums_that_make_no_sense(look, folder, text, fault) -> None:
    (folder / "SHA256SUMS").write_text(text)
    with pytest.raises(DgexError, match=fault):
        look()


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (("1007_s_at", "AFFX-BioB-5_at", "121_at"), "probe"),
        (("ENSG00000000003.10", "ENSGR0000124334", "ENSG00000124334_PAR_Y"), "Ensembl gene"),
        (("780", "5982"), "Entrez gene"),
        (("TP53", "780", "1007_s_at"), "gene"),
    ],
)
def test_kinds_of_ids(ids, kind) -> None:
    assert id_kind(ids) == kind


def test_a_study_file_of_what_is_there(folder, sources, place) -> None:
    path = write_template(folder, sources)
    study = read_study(path)
    assert study.name == "paper"
    files = study.files
    assert [files.geo, files.gtex, files.thousand_genomes, files.landmarks, files.targets] == [
        place[name] for name in ("bgedv2", "gtex-v4", "geuvadis", "map-lm", "map-tg")
    ]
    with pytest.raises(DgexError, match="is there already and is left as it is"):
        write_template(folder, sources)


def test_a_study_file_before_anything_is_there(tmp_path) -> None:
    path = write_template(tmp_path / "new", read_sources())
    files = read_study(path).files
    assert files.gtex == tmp_path / "new" / "GTEx_RNASeq_RPKM_n2921x55993.gctx"
    assert path.read_text().count("# not there yet") == 5


def test_real_files(shared, tmp_path) -> None:
    """Counts of the real miniature, known from its own description."""
    real = {
        "bgedv2": ("data/human_mini/geo_u133a_n529x22215.gctx", 529, 22_215),
        "gtex-v4": ("data/human_mini/tcga_rnaseq_n148x9419.gct.gz", 148, 9_419),
        "geuvadis": ("data/human_mini/lcl_rnaseq_n69x17310.txt.gz", 69, 17_310),
        "map-lm": ("genes/map_lm.txt", 0, 943),
        "map-tg": ("genes/map_tg.txt", 0, 9_520),
    }
    known = []
    for source in read_sources():
        if source.name in real:
            path, profiles, genes = real[source.name]
            (tmp_path / source.file).symlink_to(shared / path)
            known.append(replace(source, profiles=profiles, genes=genes))
    found = {finding.source.name: finding for finding in check_folder(tmp_path, known)}
    assert set(states(found).values()) == {"sound"}
    assert "sha256 as published" in found["map-tg"].text
    counts = {"bgedv2": (943, 9_520), "gtex-v4": (918, 8_936), "geuvadis": (878, 7_785)}
    for name, (landmarks, targets) in counts.items():
        text = f"{landmarks:,} of 943 landmarks; {targets:,} of 9,520 targets"
        assert text in found[name].text


def test_the_table_of_sources_is_sound() -> None:
    sources = read_sources()
    table = pd.DataFrame([vars(source) for source in sources])
    assert table["name"].is_unique
    assert table["file"].is_unique
    assert table["url"].str.startswith("https://").all()
    assert set(table["kind"]) == {"https", "by hand"}
    assert (table["how"].ne("") == table["kind"].eq("by hand")).all()
    assert table["sha256"].str.fullmatch("([0-9a-f]{64})?").all()
    assert (table[["size", "about"]].max(axis=1) <= table["max_size"]).all()
    assert (table["sha256"].eq("") | table["size"].gt(0)).all()
    fetched = table[table["kind"] == "https"]
    assert all(
        url.endswith(f"/{file}") for url, file in zip(fetched.url, fetched.file, strict=True)
    )
    assert set(table["role"]) == {"geo", "gtex", "1000g", "landmarks", "targets", ""}
    assert not table["file"].str.contains(r"[\\/]|^\.", regex=True).any()


def test_maps_that_are_published_have_the_checksums_of_the_table(shared) -> None:
    for source in read_sources():
        if source.format == "gene map":
            content = (shared / "genes" / source.file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == source.sha256
            assert len(content) == source.size

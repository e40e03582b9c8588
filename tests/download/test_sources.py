"""A folder that a user filled: what is sound is called so, everything else is found."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dgex_jax.cli import main
from dgex_jax.download import sources as table
from dgex_jax.download.sources import (
    check_folder,
    read_sources,
    require_complete,
    study_line,
    write_template,
)
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gct, write_gctx, write_rpkm
from dgex_jax.prepare.study import read_study
from tests.download.server import NAME

GENES = tuple(f"ENSG{number:011d}" for number in range(300))
VERSIONED = tuple(f"{gene}.7" for gene in GENES)
PROBES = tuple(f"{n}_at" for n in range(310))
MAPS = {"map-lm": range(40), "map-tg": range(30, 250)}
SHAPES = {"bgedv2": (25, 310), "gtex-v4": (12, 300), "geuvadis": (8, 290)}
LONG = 3 << 20
"""More bytes than any reader takes at once."""


def expression(shape: tuple[int, int], genes: tuple[str, ...]) -> Expression:
    values = np.random.default_rng(3).uniform(4, 15, shape).astype(np.float32)
    return Expression("", values, tuple(f"S{n}" for n in range(shape[0])), genes[: shape[1]])


def text_of_map(numbers: range) -> str:
    return "".join(f"G{n}\t{GENES[n]}\t{n}_at,{n}_x_at\n" for n in numbers)


@pytest.fixture
def sources():
    """The sources of the package, as small as the files of `place`."""
    known = []
    for source in read_sources():
        profiles, genes = SHAPES.get(source.name, (0, len(MAPS.get(source.name, ()))))
        text = text_of_map(MAPS.get(source.name, range(0)))
        sha256 = hashlib.sha256(text.encode()).hexdigest() if text else ""
        known.append(replace(source, profiles=profiles, genes=genes, size=0, sha256=sha256))
    return known


@pytest.fixture
def place(tmp_path, sources):
    """Five files under the names of the paper's, small."""
    place = {source.name: tmp_path / source.file for source in sources}
    write_gctx(place["bgedv2"], expression(SHAPES["bgedv2"], PROBES))
    write_gct(place["gtex-v4"], expression(SHAPES["gtex-v4"], VERSIONED))
    write_rpkm(place["geuvadis"], expression(SHAPES["geuvadis"], VERSIONED))
    for name, numbers in MAPS.items():
        place[name].write_text(text_of_map(numbers))
    return place


@pytest.fixture
def look(tmp_path, sources):
    """Give a function that gives the findings by name."""
    return lambda: {found.source.name: found for found in check_folder(tmp_path, sources)}


def in_state(found, state: str) -> set[str]:
    return {name for name, finding in found.items() if finding.state == state}


def test_what_is_sound_is_called_so(look, place, sources, tmp_path) -> None:
    before = sorted(tmp_path.iterdir())
    found = look()
    assert list(found) == [source.name for source in sources]
    assert in_state(found, "sound") == {"bgedv2", "gtex-v4", "geuvadis", "map-lm", "map-tg"}
    assert in_state(found, "not sound") == set()
    assert all("\n" not in finding.line for finding in found.values())
    text = found["bgedv2"].text
    assert "25 profiles x 310 probes (0_at, 1_at, 2_at, …; profiles S0, …)" in text
    assert "40 of 40 landmarks; 220 of 220 targets" in text
    assert "(none is known)" in text
    assert "12 profiles x 300 Ensembl genes" in found["gtex-v4"].text
    assert "sha256 as published" in found["map-lm"].text
    assert "missing   gtex: GTEx_RNASeq_RPKM_n2921x55993.gctx" in found["gtex"].line
    assert study_line(list(found.values())) == "the paper's study has all it needs"
    # Unpacked files count as well, and nothing is written.
    packed = place["geuvadis"]
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    assert sorted(tmp_path.iterdir()) == sorted([*before, packed.with_suffix("")])
    packed.unlink()
    assert look()["geuvadis"].state == "sound"


def test_another_checksum_is_found(look, place, tmp_path) -> None:
    place["map-lm"].write_text(text_of_map(range(40)).replace("G7", "G7b"))
    sha256 = hashlib.sha256(place["bgedv2"].read_bytes()).hexdigest()
    lines = f"{sha256} *{place['bgedv2'].name}\n{'0' * 64}  {place['gtex-v4'].name}\n"
    (tmp_path / "SHA256SUMS").write_text(lines)
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
        assert in_state(found, "not sound") == {name}
        assert str(place[name]) in found[name].text


def holes(shape: tuple[int, int], n: int | None) -> Expression:
    made = expression(shape, PROBES)
    made.values[0 if n else slice(None), :n] = np.nan
    return made


NONE_IN_IT = "BUT none of the landmarks is in it; BUT none of the targets is in it"


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (expression((25, 309), PROBES), ["BUT not the 310 genes of"]),
        (expression((24, 310), PROBES), ["BUT not the 25 profiles of the paper"]),
        (
            expression((25, 310), tuple(str(780 + n) for n in range(310))),
            ["310 Entrez genes", NONE_IN_IT],
        ),
        (expression((25, 310), ("TP53", *PROBES[:155], *GENES)), ["310 genes (TP53"]),
        (holes((25, 310), 5), ["5 of 930 missing"]),
        (holes((25, 310), None), ["BUT it has no values"]),
    ],
)
def test_other_content_is_found(look, place, content, texts) -> None:
    write_gctx(place["bgedv2"], content)
    found = look()["bgedv2"]
    assert all(text in found.text for text in texts)
    assert (found.state == "not sound") == any("BUT" in text for text in texts)


def test_a_value_that_is_no_number_is_found_among_the_genes_of_the_study(look, place) -> None:
    path = place["gtex-v4"]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cells = lines[3 + 120].split("\t")
    lines[3 + 120] = "\t".join([*cells[:-1], "high"])
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = look()["gtex-v4"]
    assert f"row '{cells[0]}'" in found.text
    assert "'high' is not a number" in found.text


def test_without_maps_the_files_are_looked_at_all_the_same(look, place) -> None:
    place["map-lm"].unlink()
    place["map-tg"].write_text("nonsense\n")
    found = look()
    assert found["map-tg"].state == "not sound"
    assert found["geuvadis"].state == "sound"
    assert "landmarks" not in found["bgedv2"].text


def test_packed_gctx_is_read_to_its_end(look, place) -> None:
    packed = gzip.compress(place["bgedv2"].read_bytes())
    path = place["l1000-level3"].with_suffix(".gctx.gz")
    path.write_bytes(packed)
    found = look()["l1000-level3"]
    assert (found.state, "unpacks it" in found.text) == ("sound", True)
    for damaged in (packed[:-9], gzip.compress(b"text"), b"text"):
        path.write_bytes(damaged)
        assert look()["l1000-level3"].state == "not sound"
    path.with_suffix("").write_bytes(gzip.decompress(packed))
    path.unlink()
    assert look()["l1000-level3"].state == "sound"


def test_folders_and_checksums_that_are_no_use(look, sources, tmp_path) -> None:
    with pytest.raises(DgexError, match="no such folder"):
        list(check_folder(tmp_path / "none", sources))
    with pytest.raises(DgexError, match="has none of the files"):
        look()
    (tmp_path / sources[0].file).touch()
    for text, fault in (
        ("abc  file\n", "line 1: is not"),
        (f"{'0' * 64}  a\n{'1' * 64}  a\n", "line 2: another"),
    ):
        (tmp_path / "SHA256SUMS").write_text(text)
        with pytest.raises(DgexError, match=fault):
            look()


def test_a_study_file_of_what_is_there(tmp_path, sources, place) -> None:
    study = read_study(write_template(tmp_path, sources))
    assert study.name == "paper"
    files = study.files
    assert [files.geo, files.gtex, files.thousand_genomes, files.landmarks, files.targets] == [
        place[name] for name in ("bgedv2", "gtex-v4", "geuvadis", "map-lm", "map-tg")
    ]
    with pytest.raises(DgexError, match="is there already and is left as it is"):
        write_template(tmp_path, sources)
    path = write_template(tmp_path / "new", read_sources())
    wanted = tmp_path / "new" / "GTEx_RNASeq_RPKM_n2921x55993.gctx"
    assert read_study(path).files.gtex == wanted
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
            if source.format == "gene map":
                assert (shared / path).stat().st_size == source.size
    found = {finding.source.name: finding for finding in check_folder(tmp_path, known)}
    assert in_state(found, "sound") == set(real)
    assert all("sha256 as published" in found[name].text for name in MAPS)
    counts = {"bgedv2": (943, 9_520), "gtex-v4": (918, 8_936), "geuvadis": (878, 7_785)}
    for name, (landmarks, targets) in counts.items():
        text = f"{landmarks:,} of 943 landmarks; {targets:,} of 9,520 targets"
        assert text in found[name].text


def test_the_table_of_sources_is_sound() -> None:
    known = pd.DataFrame([vars(source) for source in read_sources()])
    assert known["name"].is_unique
    assert known["file"].is_unique
    assert known["url"].str.startswith("https://").all()
    assert set(known["kind"]) == {"https", "by hand"}
    assert (known["how"].ne("") == known["kind"].eq("by hand")).all()
    assert known["sha256"].str.fullmatch("([0-9a-f]{64})?").all()
    assert (known[["size", "about"]].max(axis=1) <= known["max_size"]).all()
    assert (known["sha256"].eq("") | known["size"].gt(0)).all()
    fetched = known[known["kind"] == "https"]
    ends = zip(fetched.url, fetched.file, strict=True)
    assert all(url.endswith((f"/{file}", f"/{file}.gz")) for url, file in ends)
    stated = known["file"].str.extract(r"_n(\d+)x(\d+)\.gctx$").dropna().astype(int)
    assert (
        stated.to_numpy().tolist() == known.loc[stated.index, ["profiles", "genes"]].values.tolist()
    )
    assert set(known["role"]) == {"geo", "gtex", "1000g", "landmarks", "targets", ""}
    assert not known["file"].str.contains(r"[\\/]|^\.", regex=True).any()


# Files of which no checksum is known are proven complete by their format.


@pytest.mark.parametrize("wanted", ["gct", "geuvadis", "table"])
def test_gzip_is_read_to_its_checksum(tmp_path, wanted) -> None:
    path = tmp_path / "file"
    head = {"gct": b"#1.2\n9\t9\n", "geuvadis": b"TargetID\tGene_Symbol\tChr\tCoord\tA\n"}
    text = head.get(wanted, b"id\tsymbol\n" * 2000) + np.random.default_rng(1).bytes(LONG)
    packed = gzip.compress(text, 1)
    path.write_bytes(packed)
    require_complete(path, wanted)
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    for damaged in (packed[:-1], packed[: LONG // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"truncated|damaged"):
            require_complete(path, wanted)


def test_hdf5_has_the_length_it_claims(place) -> None:
    path = place["bgedv2"]
    require_complete(path, "gctx")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="truncated"):
        require_complete(path, "gctx")


@pytest.mark.parametrize("wanted", ["gct", "geuvadis", "gctx", "weights", "gene map"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(b"<html>", mtime=0), b"\x89HDF\r\n\x1a\n"]
)
def test_something_else_is_refused(tmp_path, wanted, content) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=str(path)):
        require_complete(path, wanted)


# ``dgex download``


@pytest.fixture
def dgex(capsys):
    """Give a function that runs ``dgex download`` and gives code, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["download", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_list_says_of_each_source_how_it_is_had(dgex) -> None:
    code, out, err = dgex("--list")
    assert (code, err) == (0, "")
    for source in read_sources():
        block = out[out.index(f"{source.name}: {source.what}") :]
        assert source.file in block
        assert (source.how if source.by_hand else f"fetched from {source.url}") in block
        assert source.sha256 in block
    assert out.count("sha256 not published") == 13
    assert out.count(".gz, unpacked here; one of the group gse92743") == 6
    assert "about 11.5 GB" in out
    assert "size not known" in out


@pytest.mark.parametrize("name", ["bgedv2", "gtex"])
def test_what_is_had_by_e_mail_is_said_and_nothing_else_done(dgex, tmp_path, name) -> None:
    for names in ([name], ["map-lm", name]):
        code, out, err = dgex(*names, "-o", tmp_path / "data")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"dgex: error: {name} is had from the D-GEX authors by e-mail")
        assert f"dgex download --check {tmp_path / 'data'}" in err
        assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "give names"),
        (["map-lm"], "-o FOLDER"),
        (["map-ln", "-o", "x"], "'map-ln' is no source; the nearest is 'map-lm'"),
        (["gse92734", "-o", "x"], "the nearest is 'gse92743'"),
        (["--list", "--check", "x"], "give names"),
        (["map-lm", "--list"], "give names"),
        (["--check", "nowhere"], "nowhere: no such folder"),
        (["--study"], "-o FOLDER"),
    ],
)
def test_what_makes_no_sense_is_one_line(dgex, tmp_path, monkeypatch, arguments, fault) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = dgex(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert fault in err
    assert list(tmp_path.iterdir()) == []


def test_a_download_from_the_command_line_knows_nothing_but_tls(
    dgex, site, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(table, "read_sources", lambda: (site.source(),))
    code, _, err = dgex("table", "-o", tmp_path)
    assert code == 2
    assert err.endswith(": refused: not https\n")
    assert site.requests == []


@pytest.mark.usefixtures("trusted")
def test_fetch_then_check(dgex, tls_site, tmp_path, monkeypatch) -> None:
    shape = {"profiles": 20, "genes": 500, "shape_from": "this test", "role": "1000g"}
    monkeypatch.setattr(table, "read_sources", lambda: (tls_site.source(**shape),))
    code, out, err = dgex("table", "-o", tmp_path / "data")
    assert (code, err) == (0, "")
    assert "fetched, " in out
    code, out, err = dgex("--check", tmp_path / "data")
    assert (code, err) == (0, "")
    assert out.startswith(f"sound     table: {NAME}; 20 profiles x 500 Ensembl genes")
    assert "sha256 as SHA256SUMS" in out
    path = tmp_path / "data" / NAME
    path.write_bytes(path.read_bytes()[:-5])
    code, out, err = dgex("--check", tmp_path / "data")
    assert code == 2
    assert out.startswith("not sound table: ")
    assert "truncated gzip file" in out
    assert err == f"dgex: error: {tmp_path / 'data'}: not sound: table\n"


def test_a_study_file(dgex, tmp_path) -> None:
    code, out, _ = dgex("--study", "-o", tmp_path)
    assert (code, out) == (0, f"written: {tmp_path / 'study.toml'}\n")
    code, out, err = dgex("--study", "-o", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)

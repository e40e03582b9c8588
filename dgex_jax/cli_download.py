"""``dgex download``: the public files of the paper's data, and a check of a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from dgex_jax.download.sources import Source

    AddCommand = Callable[
        [Any, str, str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser
    ]

EXAMPLES = {
    "download": """examples:
  dgex download --list                                     what there is, and how it is had
  dgex download gtex-v4 geuvadis map-lm map-tg -o data/    the same command goes on after a break
  dgex download --study -o data/                           write data/study.toml for them
  dgex download --check data/                              is all that is there sound?
""",
}


def add_download(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex download``."""
    command = add_command(
        commands, "download", "fetch the public files of the paper's data, or check them", download
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="of --list")
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where the files go")
    command.add_argument(
        "--study", action="store_true", help="write FOLDER/study.toml for the paper's study"
    )
    command.add_argument(
        "--list", action="store_true", help="say what each file is and how it is had"
    )
    command.add_argument(
        "--check",
        type=Path,
        metavar="FOLDER",
        help="verify the files that are in FOLDER: checksums, shapes, genes",
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")


def download(options: argparse.Namespace) -> None:
    """Run ``dgex download``."""
    from dgex_jax.download.sources import (  # noqa: PLC0415
        find_sources,
        list_lines,
        read_sources,
        refuse_by_hand,
    )

    sources = read_sources()
    work = options.names or options.study
    if options.list + (options.check is not None) + bool(work) != 1:
        raise DgexError("give names (or --study) and -o FOLDER, or --list, or --check FOLDER")
    if options.list:
        print("\n".join(list_lines(sources)))
        return
    if options.check is not None:
        check(options.check, sources, quiet=options.quiet)
        return
    chosen = find_sources(options.names, sources)
    refuse_by_hand(chosen, options.output or Path("FOLDER"))
    if options.output is None:
        raise DgexError("where the files go is missing: -o FOLDER")
    if chosen:
        fetch(chosen, options.output, quiet=options.quiet)
    if options.study:
        from dgex_jax.download.template import write_template  # noqa: PLC0415

        print(f"written: {write_template(options.output, sources)}")


def fetch(sources: Sequence[Source], folder: Path, *, quiet: bool) -> None:
    """Fetch files, what happens shown line by line."""
    from dgex_jax.data.progress import Progress  # noqa: PLC0415
    from dgex_jax.download.fetch import download as fetch_files  # noqa: PLC0415

    def report(line: str) -> None:
        print(line, flush=True)

    fetch_files(sources, folder, report=report, progress=Progress(not quiet))


def check(folder: Path, sources: Sequence[Source], *, quiet: bool) -> None:
    """Show what is in a folder, and raise `DgexError` if not all of it is sound."""
    from dgex_jax.data.progress import Progress  # noqa: PLC0415
    from dgex_jax.download.check import check_folder, study_line  # noqa: PLC0415

    findings = []
    for finding in check_folder(folder, sources, Progress(not quiet)):
        print(finding.line, flush=True)
        findings.append(finding)
    print(study_line(findings))
    bad = [finding.source.name for finding in findings if finding.state == "not sound"]
    if bad:
        raise DgexError(f"{folder}: not sound: {', '.join(bad)}")

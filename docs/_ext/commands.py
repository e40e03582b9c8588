"""The directives ``command`` and ``dgex-commands``: options of commands, from their own parsers."""

from __future__ import annotations

import argparse
import os
import re
from contextlib import suppress
from importlib import import_module
from textwrap import dedent
from unittest.mock import patch

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dgex_jax import cli

FORMAT = {"COLUMNS": "88", "NO_COLOR": "1"}
CODE = re.compile(r"(`[^`]+`|(?<![\w-])--?[a-z][\w-]*|\"[^\"]+\"|<[^>]+>)")
TITLES = {"positional arguments": "Arguments"}
EXAMPLES = re.compile(r"examples:\n((?:  .*\n?)+)\n?(.*)", re.DOTALL)


def parser_of(module: str) -> argparse.ArgumentParser:
    """Find the parser that a script's ``main`` builds: the one asked for ``--help``."""
    asked: list[argparse.ArgumentParser] = []

    def print_help(parser: argparse.ArgumentParser) -> None:
        asked.append(parser)

    main = import_module(module).main
    with (
        patch.object(argparse.ArgumentParser, "print_help", print_help),
        suppress(SystemExit),
    ):
        main(["--help"])
    (found,) = asked
    return found


def commands() -> dict[str, argparse.ArgumentParser]:
    """List the parsers of the commands of ``dgex``, by name."""
    (found,) = (
        action.choices
        for action in cli.parser()._actions  # noqa: SLF001  (argparse has no public way)
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    return dict(found)


def block(text: str, language: str = "none") -> nodes.literal_block:
    """Make a block of code."""
    return nodes.literal_block(text, text, language=language)


def paragraph(text: str) -> nodes.paragraph:
    """Make a paragraph, with flags and quoted values as code."""
    made = nodes.paragraph()
    for k, piece in enumerate(CODE.split(" ".join(text.split()))):
        made += nodes.literal("", piece.strip("`")) if k % 2 else nodes.Text(piece)
    return made


def options(
    parser: argparse.ArgumentParser, prefix: str
) -> list[nodes.rubric | nodes.definition_list]:
    """Make a list of the options of each group, each with an anchor."""
    made: list[nodes.rubric | nodes.definition_list] = []
    formatter = parser._get_formatter()  # noqa: SLF001
    for group in parser._action_groups:  # noqa: SLF001
        items = nodes.definition_list()
        for action in group._group_actions:  # noqa: SLF001
            if action.help == argparse.SUPPRESS or action.dest == "help":
                continue
            invocation = formatter._format_action_invocation(action)  # noqa: SLF001
            text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
            term = nodes.term("", "", nodes.literal("", invocation))
            term["ids"].append(f"{prefix}-{action.dest.replace('_', '-')}")
            about = nodes.definition("", paragraph(text))
            items += nodes.definition_list_item("", term, about)
        title = TITLES.get(group.title or "", group.title or "")
        title = title[:1].upper() + title[1:]
        if items.children:
            made += [nodes.rubric("", title), items]
    return made


def told(parser: argparse.ArgumentParser, prefix: str) -> list[nodes.Node]:
    """Make what is to be said of one command."""
    made: list[nodes.Node] = [
        paragraph(one) for one in re.split(r"\n\s*\n", parser.description or "")
    ]
    usage = parser.format_usage().removeprefix("usage: ").replace(" [-h]", "", 1)
    # Further lines stood behind "usage: ".
    made.append(block(usage.rstrip().replace("\n       ", "\n")))
    examples = EXAMPLES.match(parser.epilog or "")
    if examples:
        made += [
            nodes.rubric("", "Examples"),
            # What an example says of itself stands behind three spaces: here as a comment.
            block(re.sub(r"(?m)(?<=\S)( {3,})(?=\S)", r"\1# ", dedent(examples[1]).rstrip()), "sh"),
        ]
        if examples[2].strip():
            made.append(paragraph(examples[2]))
    return made + options(parser, prefix)


class Command(SphinxDirective):
    """Show the options of a script, named by its module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make its parts."""
        with patch.dict(os.environ, FORMAT):
            return told(parser_of(self.arguments[0]), self.arguments[0].replace(".", "-"))


class DgexCommands(SphinxDirective):
    """Show each command of ``dgex`` in a section of its own."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        made: list[nodes.Node] = []
        with patch.dict(os.environ, FORMAT):
            for name, parser in commands().items():
                section = nodes.section(ids=[f"dgex-{name}"], names=[f"dgex {name}"])
                section += nodes.title("", "", nodes.literal("", f"dgex {name}"))
                section += told(parser, f"dgex-{name}")
                self.state.document.note_explicit_target(section)
                made.append(section)
        return made


def setup(app: object) -> dict[str, bool]:
    """Tell Sphinx of both."""
    app.add_directive("command", Command)  # type: ignore[attr-defined]
    app.add_directive("dgex-commands", DgexCommands)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}

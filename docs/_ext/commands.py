"""The directives ``command-help`` and ``dgex-commands``: what ``--help`` of the commands prints."""

from __future__ import annotations

import argparse
import io
import os
from contextlib import redirect_stdout, suppress
from importlib import import_module
from unittest.mock import patch

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dgex_jax import cli

WIDTH = "92"


def help_of(module: str, *words: str) -> str:
    """Give what ``--help`` prints, from the parser itself."""
    printed = io.StringIO()
    main = import_module(module).main
    with patch.dict(os.environ, {"COLUMNS": WIDTH}), redirect_stdout(printed), suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue().rstrip()


def names() -> list[str]:
    """List the commands of ``dgex``."""
    return [
        name
        for action in cli.parser()._actions  # noqa: SLF001  (argparse has no public way)
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        for name in action.choices
    ]


def block(text: str) -> nodes.literal_block:
    """Make a block of what a command prints."""
    made = nodes.literal_block(text, text)
    made["language"] = "none"
    return made


class CommandHelp(SphinxDirective):
    """Show the help of a script, named by its module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make its block."""
        return [block(help_of(self.arguments[0]))]


class DgexCommands(SphinxDirective):
    """Show the help of each command of ``dgex`` in a section of its own."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        made: list[nodes.Node] = []
        for name in names():
            section = nodes.section(ids=[f"dgex-{name}"], names=[f"dgex {name}"])
            section += nodes.title("", "", nodes.literal("", f"dgex {name}"))
            section += block(help_of("dgex_jax.cli", name))
            self.state.document.note_explicit_target(section)
            made.append(section)
        return made


def setup(app: object) -> dict[str, bool]:
    """Tell Sphinx of both."""
    app.add_directive("command-help", CommandHelp)  # type: ignore[attr-defined]
    app.add_directive("dgex-commands", DgexCommands)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}

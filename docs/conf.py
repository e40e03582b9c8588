"""The documentation site: ``make docs``, without network; warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

import dgex_jax

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "dgex-jax"
author = "the dgex-jax developers"
release = version = dgex_jax.__version__
extensions = [
    "commands",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_ext", "**/README.md"]
templates_path: list[str] = []
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "furo"
html_title = f"dgex-jax {release}"
html_theme_options = {"top_of_page_buttons": []}
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False

# Quotes and dashes are copied into commands and study files.
smartquotes = False
# Docstrings name things in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks" / "cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
# Tables that are included skip a level.
suppress_warnings = ["myst.header"]

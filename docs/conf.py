"""How Sphinx builds these pages: `make docs` writes them to docs/_build/html. Nothing is fetched from the network."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402 - it lies beside this file

from neuroexp import __version__  # noqa: E402

project = "neuroexp"
author = "The neuroexp contributors"
copyright = author  # noqa: A001 - Sphinx calls it so
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
default_role = "literal"  # docstrings write `code` with one backtick

autodoc_default_options = {"members": False, "member-order": "bysource"}
autodoc_typehints = "none"  # the sections of the docstrings say more: shapes and units
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = f"neuroexp {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_show_sphinx = False
toc_object_entries = False  # every reader is called read: the list of a page names sections alone
html_theme_options = {
    "logo": {"text": "neuroexp"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}
html_sidebars = {"index": [], "gallery/index": []}


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the generated tables where a page has their mark."""
    for mark, (make, sources) in generated.PARTS.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())
            for path in sources():
                app.env.note_dependency(str(path))


def setup(app: Sphinx) -> None:
    """Have Sphinx fill the marks as it reads a page."""
    app.connect("source-read", _fill)

"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import airflow_provider_cerebras
from airflow_provider_cerebras import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "airflow-provider-cerebras"
author = "the airflow-provider-cerebras authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.mermaid"]
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
# What is part of another page.
exclude_patterns = ["_build", "benchmarks/emulator.md", "compatibility-matrix.md"]
html_show_copyright = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"airflow-provider-cerebras {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

# A name in the text of a docstring that leads nowhere is an error, but for names that are documented elsewhere.
nitpicky = True
nitpick_ignore = [("py:exc", "AirflowSensorTimeout"), ("py:exc", "ConnectionNotFound")]
# A docstring may send its readers to a module that users have no need of.
nitpick_ignore_regex = [
    ("py:mod", r".*"),
    ("py:class", r"(?!airflow_provider_cerebras).*|.*\.ResponseT|.*\._redaction\..*"),
]


class Layers(SphinxDirective):
    """The layers that the import rules in pyproject.toml enforce: a drawing, and what each module is for."""

    def run(self) -> list[nodes.Node]:
        """Read the layers, draw them from top to bottom, and list them."""
        file = Path(__file__).parents[1] / "pyproject.toml"
        self.env.note_dependency(str(file))
        contract = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
        layers = [layer.split(" | ") for layer in contract["layers"]]
        boxes = [f"    {number}[{', '.join(layer)}]" for number, layer in enumerate(layers)]
        arrows = [f"    {number} --> {number + 1}" for number in range(len(layers) - 1)]
        rows = [f"| `{name}` | {_purpose(name)} |" for layer in layers for name in layer]
        lines = ["```{mermaid}", "flowchart TD", *boxes, *arrows, "```", "", "| module | purpose |", "|---|---|", *rows]
        return self.parse_text_to_nodes("\n".join(lines))


def _purpose(name: str) -> str:
    """First sentence of a module's docstring."""
    package = Path(airflow_provider_cerebras.__file__).parent
    file = package / f"{name}.py"
    source = file if file.exists() else package / name / "__init__.py"
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def draw_benchmarks(app: Sphinx) -> None:  # noqa: ARG001  Sphinx gives it
    """Draw the figures of the benchmarks from their data; the repository holds the data and the tables only."""
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    from tests.benchmarks.plots import write_plots

    folder = root / "docs" / "benchmarks"
    write_plots(json.loads((folder / "results.json").read_text(encoding="utf-8")), folder)


def hide_markers(app: Sphinx, doctree: nodes.document) -> None:  # noqa: ARG001  Sphinx gives it
    """Take out of code what only says where a part of it begins, such as ``# [verify]``."""
    for block in doctree.findall(nodes.literal_block):
        text = re.sub(r"^ *# \[[a-z ]+\]\n", "", block.astext(), flags=re.MULTILINE)
        # Only what was not changed since it was read is highlighted.
        block.rawsource = text
        block.children = [nodes.Text(text)]


def setup(app: Sphinx) -> None:
    """Make the directive known, and the figures."""
    app.add_directive("layers", Layers)
    app.connect("builder-inited", draw_benchmarks)
    app.connect("doctree-read", hide_markers)

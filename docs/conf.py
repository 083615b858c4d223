"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import airflow_provider_cerebras
from airflow_provider_cerebras import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import rooms

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "airflow-provider-cerebras"
author = "the airflow-provider-cerebras authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
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
nitpick_ignore = [("py:exc", "AirflowSensorTimeout")]
# A docstring may send its readers to a module that users have no need of.
nitpick_ignore_regex = [("py:mod", r".*"), ("py:class", r"(?!airflow_provider_cerebras).*|.*\.AnswerT")]


class Rooms(SphinxDirective):
    """The drawing of the package's rooms, and what each is for."""

    def run(self) -> list[nodes.Node]:
        """Read the rooms, draw them, and list them."""
        file = Path(__file__).with_name("architecture.toml")
        self.env.note_dependency(str(file))
        architecture = rooms.load(file)
        drawing = nodes.raw("", rooms.draw(architecture), format="html")
        words = rooms.table(architecture, Path(airflow_provider_cerebras.__file__).parent)
        return [drawing, *self.parse_text_to_nodes(words)]


def setup(app: Sphinx) -> None:
    """Make the directive known."""
    app.add_directive("rooms", Rooms)

"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

from airflow_provider_cerebras import __version__

project = "airflow-provider-cerebras"
author = "the airflow-provider-cerebras authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"airflow-provider-cerebras {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

# A name in the text of a docstring that leads nowhere is an error, but for names that are documented elsewhere.
nitpicky = True
nitpick_ignore = [("py:exc", "AirflowSensorTimeout")]
# A page may be written before its place in the table of contents.
suppress_warnings = ["toc.not_included"]

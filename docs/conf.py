"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

from airflow_provider_cerebras import __version__

project = "airflow-provider-cerebras"
author = "the airflow-provider-cerebras authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = f"airflow-provider-cerebras {version}"

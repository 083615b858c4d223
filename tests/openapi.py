"""The reconstructed OpenAPI document of the API, read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Python's own reader takes a second for it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

REFERENCE: dict[str, Any] = yaml.load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), _LOADER)

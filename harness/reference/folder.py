"""Where certified references are kept; known without NumPy, for the process that plans has none."""

from __future__ import annotations

import os
from pathlib import Path


def default_folder() -> Path:
    """Return $HARNESS_CACHE, or the platform's folder for caches / numerics-harness."""
    given = os.environ.get("HARNESS_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("numerics-harness", appauthor=False)

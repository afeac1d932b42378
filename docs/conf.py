"""Configuration of the documentation: `nox -s docs`."""

project = "numerics-harness"
author = "the numerics-harness authors"
copyright = "2026, the numerics-harness authors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "numerics-harness"
exclude_patterns = ["_build", "guide/text"]

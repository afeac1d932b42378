"""Certified arithmetic: enclosures by ball arithmetic, the arrays that hold them, and their cache."""

"""Columns of accuracy: what is measured of one output against its certified reference."""

"""What a run shows, before any format: sentences, matrices, figures, tables.

Pure Python on `Run.header`, `Run.rows` and `Run.facts`; the formats beside this package only lay it out.
"""

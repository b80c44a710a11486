"""Figures: each thing is drawn once, from its record, for `--plots` and for the report alike."""

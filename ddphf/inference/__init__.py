"""Fits and the statements made of them: discovery, nulls, limits, impacts."""

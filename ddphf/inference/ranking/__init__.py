"""Impacts on the parameter of interest, one by one and in groups."""

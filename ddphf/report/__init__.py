"""Figures and tables, made from result records only."""

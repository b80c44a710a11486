"""Ratio files to workspaces: numerator, denominator, lepton identification, a control pair."""

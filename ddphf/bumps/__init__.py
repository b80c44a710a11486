"""Bumps on smoothly falling mass spectra, whose background is known by no model."""

"""Tests that learn the difference of two samples, calibrated by redrawn labels."""

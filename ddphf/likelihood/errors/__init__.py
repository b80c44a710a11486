"""Errors at a certified minimum: covariances, rates that follow, profile errors."""

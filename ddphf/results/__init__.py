"""Frozen records of what was found, and their JSON: shared by both wings and the figures."""

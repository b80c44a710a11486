"""Search for new physics through Standard Model symmetries, published as pyhf workspaces."""

__version__ = "0.1.0"

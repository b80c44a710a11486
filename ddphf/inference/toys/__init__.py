"""Toy ensembles: drawn, fitted, stored, weighted."""

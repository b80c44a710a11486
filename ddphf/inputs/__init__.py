"""Histograms and tables from files, with edges, axis names and units kept."""

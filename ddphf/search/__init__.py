"""Statistics on the pair itself: N_sigma, windows, trial factors."""

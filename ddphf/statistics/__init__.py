"""Statistics that both wings need: the background of a pair, N_sigma, windows, tails, signs."""

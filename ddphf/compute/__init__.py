"""Work in numbered pieces, and the random numbers that belong to each."""

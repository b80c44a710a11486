"""Work in numbered blocks wherever it is done, and the random numbers that belong to each."""

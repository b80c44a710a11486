"""pyhf workspaces as certified likelihoods, with pyhf itself as the reference."""

"""From two samples to the pair whose symmetry is tested."""

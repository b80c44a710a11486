"""Many small models of one kind, fitted at once: structure as data, nothing compiled."""

"""From the pair, systematics and signal to the pyhf workspace."""

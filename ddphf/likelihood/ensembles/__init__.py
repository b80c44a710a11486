"""Many toys of one pair at once: shared expected information, each toy checked."""

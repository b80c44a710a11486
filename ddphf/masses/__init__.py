"""Mass scans: one search repeated over hypotheses, and what looking at all of them costs."""

"""Upper limits, two-sided intervals, and their coverage."""

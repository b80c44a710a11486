"""Statistical models to and from the formats of other tools, each conversion evaluated."""

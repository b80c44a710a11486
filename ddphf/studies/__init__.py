"""Studies that need a model and many fits of it."""

"""The analysis file: a JSON Schema, then its meaning."""

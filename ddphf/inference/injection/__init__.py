"""Injected signals: strength, data, and the scan of what a fit finds."""

"""Bundles that prove themselves, HEPData submissions, patches, and their verification."""

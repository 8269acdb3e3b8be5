"""Packed shards: their format, where they are, whether they are intact."""

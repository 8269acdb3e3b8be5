"""Packed shards: their format, their location and their verification."""

"""Pairs of HR and LR images: packing, shards, loading, degradations."""

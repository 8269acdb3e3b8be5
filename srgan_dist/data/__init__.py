"""Training data: packing, shards, loading and degradations."""

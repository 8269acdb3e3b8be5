"""From image folders and data sets to shards."""

"""From pictures to shards, and from shards to batches on the device."""

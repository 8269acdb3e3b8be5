"""A run is a directory: configuration, checkpoints, environment."""

"""Run directories: configuration, checkpoints, environment, and which model a run opens as."""

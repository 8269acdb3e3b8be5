"""A training run: configuration, presets, the step, the loop."""

"""Training: configuration, presets, the optimizer step, and the loop around it."""

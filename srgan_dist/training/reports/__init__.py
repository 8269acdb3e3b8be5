"""What a training reports: pace, progress, lines and start-up time."""

"""The processes of one job, what they agree on, and what they compute in."""

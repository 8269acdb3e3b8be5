"""The error of wrong usage: what the command line or a configuration says cannot be done with any data."""


class UsageError(ValueError):
    """A flag, a value or a combination of them that is wrong in itself; the command exits with 2 instead of 1."""

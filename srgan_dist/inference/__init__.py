"""Generators on images of any size."""

"""Metrics, results, figures and pages that compare methods."""

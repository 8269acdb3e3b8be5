"""Numbers, figures and pages that compare methods."""

"""The documentation: generated pages, links and code."""

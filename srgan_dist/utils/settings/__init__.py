"""Settings as text: dataclass fields, YAML and JSON files, their schema, and names that were misspelled."""

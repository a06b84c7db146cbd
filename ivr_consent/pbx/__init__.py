"""The switches: one folder each, with the same file names in each."""

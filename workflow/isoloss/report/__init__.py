"""Room 8. What a study found, in a few lines that can be read alone."""

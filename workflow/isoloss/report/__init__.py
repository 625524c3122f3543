"""The stage summarize: a summary of a study in a few lines."""

"""The stage plot: give a figure card its tables, and save PNG, PDF and the table drawn."""

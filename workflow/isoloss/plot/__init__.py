"""Room 7. A figure card draws; this room feeds it, and saves PNG, PDF and the table drawn."""

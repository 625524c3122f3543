"""A study as a whole: its schema and checks, its jobs, their state, commands on results."""

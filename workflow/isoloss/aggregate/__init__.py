"""Room 5. Runs are gathered into one table, from a sweep's shards or from a table of your own."""

from isoloss.aggregate.sweep import gather_sweep
from isoloss.aggregate.table import read_runs, read_runs_table

__all__ = ["gather_sweep", "read_runs", "read_runs_table"]

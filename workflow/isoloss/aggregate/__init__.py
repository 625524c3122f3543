"""The stage aggregate: gather runs into one table, from a sweep's shards or a user's table."""

from isoloss.aggregate.sweep import gather_sweep
from isoloss.aggregate.table import read_runs, read_runs_table

__all__ = ["gather_sweep", "read_runs", "read_runs_table"]

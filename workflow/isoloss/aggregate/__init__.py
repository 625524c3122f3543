"""Room 5. Runs are gathered into one table, from a sweep's shards or from a table of your own."""

from isoloss import lazy

_HOMES = {
    "gather_sweep": "isoloss.aggregate.sweep",
    "read_runs": "isoloss.aggregate.table",
    "read_runs_table": "isoloss.aggregate.table",
}
__getattr__ = lazy.names(__name__, _HOMES)

"""The stage aggregate: gather runs into one table, from a sweep's shards or a user's table."""

from isoloss.core import lazy

_HOMES = {
    "gather_sweep": "isoloss.aggregate.sweep",
    "read_runs": "isoloss.aggregate.table",
    "Rules": "isoloss.aggregate.table",
    "read_table": "isoloss.aggregate.table",
    "read_runs_table": "isoloss.aggregate.table",
}
__getattr__ = lazy.names(__name__, _HOMES)

"""Read tables as people have them: any text table, JSON, Parquet, Arrow, Excel, packed or not."""

from isoloss.core import lazy

_HOMES = {"Parsed": "isoloss.formats.table", "rows": "isoloss.formats.read"}
__getattr__ = lazy.names(__name__, _HOMES)

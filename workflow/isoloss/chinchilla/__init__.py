"""The toolkit of the package `chinchilla` 0.2.0 over this library: change the import of a script.

`Chinchilla` draws seeding runs, fits L = E + A / N^α + B / D^β to the runs of a project, and says
how to divide a larger budget. docs/parity.md lists every name, and where it differs from there.
It needs the extra `chinchilla` (pydantic and rich).
"""

from __future__ import annotations

from isoloss.core import extras

try:
    from isoloss.chinchilla.core import Chinchilla
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package not in ("pydantic", "rich"):
        raise
    remedy = f"install it with `{extras.install(package)}`"
    reason = f"isoloss.chinchilla needs the package {package}; {remedy}"
    raise ModuleNotFoundError(reason, name=package) from error

__all__ = ["Chinchilla"]

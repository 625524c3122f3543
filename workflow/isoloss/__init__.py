"""isoloss: a laboratory for neural scaling laws.

In a notebook: `read_runs` (any table, path or address), `import_runs` (a folder of training logs),
`read_log` (the log of one run), `fit_law` (a law card, or a formula that you type, fitted to runs:
a `Fit`), `load_fit`, `compare_laws`,
`sensitivity`, `simulate_studies` (how well a plan and a fit recover a known law), `export_fit` (a
fit as law.py), `law_of_table` (all of it at once), `discover` (which law a table has), `choose_law`
(which of several formulas extrapolates best), `preset` (a published law, to predict with),
`compare_presets` (published laws on the runs of a fit), `chain`
(error or accuracy by way of the loss), `expand_rows` (rows repeated by the weights of their tags;
for rows with `_dlm_row_tags` there are `expand_rows_by_weight`, `merge_weights_maps`,
`resolve_row_weight`, `weight_distribution`), `mixture_weights` (by which rows make a mixture),
`structural_entropies` (of an MLP's hidden units), `llc` (the local learning
coefficient of a model; it needs the extra `train`) and `compute_llc` (that of samples).
`chinchilla` is a module: the toolkit of the package of that name.
`dir(isoloss)` lists them, and each has an example in its docstring.
Importing isoloss is light; each name is fetched when it is first used.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "Fit": "isoloss.fitted",
    "read_runs": "isoloss.aggregate.table",
    "fit_law": "isoloss.fit.law",
    "load_fit": "isoloss.fitted",
    "compare_laws": "isoloss.fit.compare",
    "sensitivity": "isoloss.fit.compare",
    "export_fit": "isoloss.fitted.export",
    "law_of_table": "isoloss.quickfit.law",
    "choose_law": "isoloss.discovery.choice",
    "discover": "isoloss.discovery.discovery",
    "preset": "isoloss.fitted.presets",
    "compare_presets": "isoloss.fitted.presets",
    "chain": "isoloss.fitted.chain",
    "import_runs": "isoloss.logs.read",
    "read_log": "isoloss.logs.read",
    "expand_rows": "isoloss.expand.rows",
    "expand_rows_by_weight": "isoloss.expand.by_weight",
    "merge_weights_maps": "isoloss.expand.by_weight",
    "resolve_row_weight": "isoloss.expand.by_weight",
    "weight_distribution": "isoloss.expand.by_weight",
    "mixture_weights": "isoloss.expand.mixture",
    "simulate_studies": "isoloss.simulate.simulation",
    "structural_entropies": "isoloss.observables.structural_entropy",
    "compute_llc": "isoloss.posterior.datatree",
    "llc": "isoloss.posterior.verbs",
}
__all__ = [
    "Fit",
    "chain",
    "choose_law",
    "compare_laws",
    "compare_presets",
    "compute_llc",
    "discover",
    "expand_rows",
    "expand_rows_by_weight",
    "export_fit",
    "fit_law",
    "import_runs",
    "law_of_table",
    "load_fit",
    "merge_weights_maps",
    "mixture_weights",
    "preset",
    "read_log",
    "read_runs",
    "resolve_row_weight",
    "sensitivity",
    "simulate_studies",
    "structural_entropies",
    "weight_distribution",
]
_MODULES = ["chinchilla"]
# not in __all__: they need extras, and `import *` would fail without
_WITH_EXTRAS = [*_MODULES, "llc"]


def __getattr__(name: str):
    """Fetch a public name from its home."""
    if name in _MODULES:
        return importlib.import_module(f"isoloss.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'isoloss' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from isoloss.core import extras

        if (lacking := extras.lacking_in(error)) is None:
            raise
        raise lacking from None


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, *_WITH_EXTRAS]

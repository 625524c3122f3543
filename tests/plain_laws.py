"""The law cards that need no variables but N, D, C and U; the others have a contract of their own.

The laws of the field that are written as formulas of any variables are held by
registry/test_laws_of_the_field.py, mixture laws by registry/test_mixture_laws.py.
"""

from __future__ import annotations

from isoloss.core import registry


def of_sizes() -> list[str]:
    """Names of the cards of laws in N, D, C and U, the card of typed formulas among them."""
    return [
        name
        for name in registry.names("law")
        if not registry.of_mixtures(name)
        and (name == "formula" or "formula_law" not in registry.defined("law", name))
    ]

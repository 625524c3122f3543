"""A law from the name of its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isoloss.core import registry
from isoloss.laws._law import Law


def made_law(card: str, options: Mapping[str, Any], domains: Sequence[str] | None = None) -> Law:
    """A law with its options chosen.

    Args:
        card: its card.
        options: of the card, every one; of a fit that was saved also what was decided (`decided`).
        domains: of a mixture law, the columns of proportions; None of another. The law of each
            response is then that of `Law.for_response`.

    Raises:
        IsolossError: there is no such card.
    """
    chosen, decided = dict(options), ()
    if "any_sign" in chosen and "any_sign" not in registry.defaults("law", card):
        decided = chosen.pop("any_sign")  # of a card whose law is a formula
    make = registry.card("law", card).make
    law = make(**chosen) if domains is None else make(domains=list(domains), **chosen)
    return law.freed(decided) if decided else law


def allocating() -> list[str]:
    """The law cards that give the best N and D of a budget."""
    joint = [name for name in registry.names("law") if not registry.of_mixtures(name)]
    return [name for name in joint if made_law(name, registry.defaults("law", name)).allocates]

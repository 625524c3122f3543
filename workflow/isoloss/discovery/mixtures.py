"""Mixture laws on a table of proportions, ranked as forms are: each card is a contender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.core import registry
from isoloss.discovery.search import floor_of
from isoloss.fit.objectives import Objective
from isoloss.fit.solve import Constraints, solve
from isoloss.laws._law import Data, Law
from isoloss.laws._make import made_law

FOLDS = 5  # random folds beside the largest proportions of every domain
KEEP = 4  # runs at least that a group keeps, and more than it has domains


@dataclass(frozen=True)
class MixtureLaw:
    """A mixture law with what it missed.

    Attributes:
        card: its name.
        law: the law (of the first response).
        errors: mean absolute error of every response and hold-out, (r, h).
        counts: runs of every hold-out, (h,).
    """

    card: str
    law: Law
    errors: np.ndarray
    counts: np.ndarray

    def terms(self, noise: np.ndarray) -> np.ndarray:
        """2 ln(error) of every hold-out, (h,), the mean over responses; noise is (r,)."""
        floor = floor_of(noise[:, None], self.counts)
        return np.log(self.errors**2 + floor**2).mean(axis=0)

    def score(self, noise: np.ndarray) -> float:
        """The mean over hold-outs; least is best."""
        return float(self.terms(noise).mean())


def cards(domains: Sequence[str]) -> list[str]:
    """The mixture laws that need nothing but proportions."""
    known = [name for name in registry.names("law") if registry.of_mixtures(name)]
    made = {name: made_law(name, registry.defaults("law", name), domains) for name in known}
    return [name for name, law in made.items() if set(law.variables) <= set(domains)]


def folds(shares: np.ndarray, group: np.ndarray, seed: int) -> list[np.ndarray]:
    """Runs held out, bool (n,) each: the largest proportions of every domain, and random folds."""
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    least = max(KEEP, shares.shape[1] + 1)
    generator = np.random.default_rng([seed, 7])
    masks = []
    for j in range(shares.shape[1]):
        out = np.zeros(len(shares), dtype=bool)
        for rows in members:
            out[rows] = shares[rows, j] >= shares[rows, j].max() - 1e-9
        masks.append(out)
    number = np.empty(len(shares), dtype=int)
    for rows in members:
        number[rows] = generator.permutation(np.arange(len(rows)) % FOLDS)
    masks += [number == fold for fold in range(FOLDS)]
    for out in masks:
        for rows in members:
            if (~out[rows]).sum() < least:
                out[rows] = False
    kept = {out.tobytes(): out for out in masks if out.any()}
    return list(kept.values())


def predict(
    card: str,
    domains: Sequence[str],
    response: str,
    train: tuple[np.ndarray, np.ndarray],
    shares: np.ndarray,
) -> np.ndarray:
    """What a card predicts of a response at proportions (m, k), fitted to other runs.

    Args:
        card: mixture law.
        domains: columns of proportions.
        response: column, such as loss_web.
        train: proportions (n, k) and responses (n,).
        shares: where to predict.
    """
    law = made_law(card, registry.defaults("law", card), domains).for_response(response)
    fitted_at, there = (_data(domains, at) for at in (train[0], shares))
    weight = np.ones(len(train[1]))
    best = solve(law, fitted_at, train[1], weight, Objective(), Constraints()).estimate
    return law.given(best.state).loss(best.theta, there)


def _data(domains: Sequence[str], shares: np.ndarray) -> Data:
    return {name: shares[:, j] for j, name in enumerate(domains)}


def search_mixtures(
    domains: Sequence[str],
    shares: np.ndarray,
    responses: dict[str, np.ndarray],
    group: np.ndarray,
    seed: int,
    told: Callable[[str], None] | None = None,
) -> list[MixtureLaw]:
    """Mixture laws by what they miss, best first.

    Args:
        domains: columns of proportions.
        shares: (n, k).
        responses: column to values, (n,).
        group: number of the group of every run.
        seed: of random folds.
        told: is called with every card.
    """
    held = folds(shares, group, seed)
    counts = np.array([out.sum() for out in held])
    results = []
    for card in cards(domains):
        if told is not None:
            told(card)
        missed = [
            [_missed(card, domains, name, shares, y, group, out) for out in held]
            for name, y in responses.items()
        ]
        law = made_law(card, registry.defaults("law", card), domains)
        results.append(MixtureLaw(card, law, np.array(missed), counts))
    noise = noise_of(results)
    return sorted(results, key=lambda one: (one.score(noise), one.card))


def noise_of(results: Sequence[MixtureLaw]) -> np.ndarray:
    """Half of what the best law misses of runs held out at random, of every response, (r,)."""
    return 0.5 * np.min([one.errors[:, -FOLDS:].mean(axis=1) for one in results], axis=0)


def _missed(card, domains, name, shares, y, group, out) -> float:
    """Mean absolute error of the runs held out, each predicted from its own group."""
    total = 0.0
    for g in range(group.max() + 1):
        here = group == g
        test, train = here & out, here & ~out
        if test.any():
            made = predict(card, domains, name, (shares[train], y[train]), shares[test])
            total += np.abs(made - y[test]).sum()
    error = total / out.sum()
    return error if np.isfinite(error) else np.inf

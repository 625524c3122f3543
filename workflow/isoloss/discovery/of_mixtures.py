"""The answer of a search on a table of mixtures: cards of mixture laws, ranked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.aggregate.proportions import MixtureColumns
from isoloss.core import escape
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.discovery.mixtures import KEEP, MixtureLaw, noise_of, predict, search_mixtures
from isoloss.discovery.table import Asked

MARGIN = 1.0  # of 2 ln(error), by which a law of the median may be worse than the best


@dataclass(frozen=True)
class MixtureDiscovery:
    """Mixture laws by what they miss of runs that were held out.

    Attributes:
        laws: cards, best first.
        label: of the table.
        domains: columns of proportions, as laws call them.
        shares: (n, k).
        responses: column to values (n,), as laws call them.
        columns: of the table: proportions and losses by their new names.
        group: number of the group of every run.
        groups: their names.
        noise: of every response, (r,).
        notes: what was decided of the table.
    """

    laws: tuple[MixtureLaw, ...]
    label: str
    domains: tuple[str, ...]
    shares: np.ndarray
    responses: dict[str, np.ndarray]
    columns: MixtureColumns
    group: np.ndarray
    groups: tuple[str, ...]
    noise: np.ndarray
    notes: tuple[str, ...]

    @property
    def best(self) -> MixtureLaw:
        """The first of the ranking."""
        return self.laws[0]

    def predict(self, runs: pd.DataFrame, *, best: bool = False) -> pd.DataFrame:
        """Every response at the mixtures of a table with the same columns.

        Args:
            runs: proportions, and groups where there are several.
            best: by the best law; else the median of those that are nearly as good.

        Returns:
            A column a response, called as in the table, a row a row.
        """
        shares = self.columns.applied(runs)[list(self.domains)].to_numpy(float)
        group = _numbers(runs, self.groups)
        least = self.best.score(self.noise) + MARGIN
        laws = [self.best] if best else [x for x in self.laws if x.score(self.noise) <= least]
        named = {new: old for old, new in self.columns.losses.items()}
        made = {}
        for name, y in self.responses.items():
            every = np.full((len(laws), len(shares)), np.nan)
            for i, law in enumerate(laws):
                for g in range(len(self.groups)):
                    train, there = self.group == g, group == g
                    if there.any():
                        runs_of = (self.shares[train], y[train])
                        every[i, there] = predict(
                            law.card, self.domains, name, runs_of, shares[there]
                        )
            made[named.get(name, name)] = np.median(every, axis=0)
        return pd.DataFrame(made, index=runs.index)

    @property
    def command(self) -> str:
        """What to type next."""
        source = "TABLE" if self.label == "the table" else shlex.quote(self.label)
        return f"python -m isoloss law {source} --law {self.best.card}"

    def __str__(self) -> str:
        groups = f" in {len(self.groups)} groups" if len(self.groups) > 1 else ""
        lines = [
            f"{len(self.shares)} mixtures of {len(self.domains)} domains{groups}, "
            f"{len(self.responses)} losses",
            *self.notes,
            f"{len(self.laws)} mixture laws, ranked by what they miss of the largest proportions "
            "of every domain and of random fifths",
            "",
        ]
        head = ("", "error held out", "law", "formula")
        rows = [
            (str(at), f"{law.errors.mean():.3g}", law.card, law.law.formula)
            for at, law in enumerate(self.laws, 1)
        ]
        return "\n".join([*lines, escape.columns(head, rows).rstrip(), "", f"next: {self.command}"])

    def record(self) -> dict[str, Any]:
        """The answer as plain values."""
        return {
            "table": self.label,
            "domains": list(self.domains),
            "responses": list(self.responses),
            "groups": list(self.groups),
            "n_runs": len(self.shares),
            "best": self.best.card,
            "laws": [
                {
                    "law": law.card,
                    "formula": law.law.formula,
                    "error": float(law.errors.mean()),
                    "score": law.score(self.noise),
                }
                for law in self.laws
            ],
            "notes": list(self.notes),
            "command": self.command,
        }


@threadpool_limits.wrap(limits=1)
def discover_mixtures(
    raw: pd.DataFrame,
    label: str,
    columns: MixtureColumns,
    asked: Asked,
    seed: int,
    told: Callable[[str], None] | None = None,
) -> MixtureDiscovery:
    """The mixture laws of a table by what they miss.

    Raises:
        IsolossError: a group has too few runs to hold some out.
    """
    table = columns.applied(raw)
    domains = tuple(columns.shares.values())
    losses = list(columns.losses.values())
    if asked.response is not None:
        losses = [columns.losses[asked.response]]
    used = table[[*domains, *losses]].astype(float)
    whole = np.isfinite(used).all(axis=1).to_numpy()
    used, notes = used[whole], list(columns.notes)
    if not whole.all():
        notes.append(f"{int((~whole).sum())} rows without a number are left out")
    column = _group_of(raw, asked)
    labels = raw[column].astype(str).to_numpy()[whole] if column else np.full(len(used), "")
    group, groups = pd.factorize(labels)
    need = max(KEEP, len(domains) + 1) + 1
    for g, name in enumerate(groups):
        count = int((group == g).sum())
        if count < need:
            place = f"{label}, group {name}" if name else label
            do = f"a search needs at least {need} mixtures of {len(domains)} domains"
            raise IsolossError(Problem(place, f"{count} mixtures", do))
    shares = used[list(domains)].to_numpy()
    responses = {name: used[name].to_numpy() for name in losses}
    laws = search_mixtures(domains, shares, responses, group, seed, told)
    return MixtureDiscovery(
        tuple(laws),
        label,
        domains,
        shares,
        responses,
        columns,
        group,
        tuple(map(str, groups)),
        noise_of(laws),
        tuple(notes),
    )


def _group_of(raw: pd.DataFrame, asked: Asked) -> str | None:
    if asked.groups is not None:
        if asked.groups not in raw:
            reason = f"no column {asked.groups!r}"
            raise IsolossError(Problem("groups", reason, nearest(asked.groups, raw.columns)))
        return asked.groups
    return next((name for name in raw if str(name).lower() == "group"), None)


def _numbers(runs: pd.DataFrame, groups: tuple[str, ...]) -> np.ndarray:
    """The number of the group of every row; the first where the table has none."""
    column = next((name for name in runs if str(name).lower() == "group"), None)
    if column is None or len(groups) == 1:
        return np.zeros(len(runs), dtype=int)
    labels = runs[column].astype(str)
    wrong = sorted(set(labels) - set(groups))
    if wrong:
        raise IsolossError(Problem("predict", f"no group {wrong[0]!r}", nearest(wrong[0], groups)))
    return labels.map({name: i for i, name in enumerate(groups)}).to_numpy()

"""Mixtures: target proportions of training tokens, solved into weights of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.arguments import checked
from isoloss.core.escape import columns, listed
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.core.tag_codes import flat_tags

Shares = Mapping[str, float]
COLUMNS = ("n_tokens", "tags", "split")  # of `rows`, which the natural proportions depend on
MOST_COPIES = 10**6  # of one row
_SUM = 1e-6  # how far a sum of proportions may be from 1
_TOLD = 20  # domains that a log tells, at most


@dataclass(frozen=True)
class Domains:
    """The training rows by the values of one tag.

    Attributes:
        tokens: domain to its training tokens, sorted by name.
        rows_without: training rows that lack the tag.
        tokens_without: the tokens in these.
    """

    tokens: Mapping[str, int]
    rows_without: int
    tokens_without: int

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch], tag_key: str) -> Domains:
        """Count the training rows of a rows table.

        Args:
            batches: of the COLUMNS of the rows table.
            tag_key: the tag that divides the rows into domains.

        Raises:
            IsolossError: no training row has the tag.
        """
        counts = [pa.table({"domain": pa.array([], pa.string()), "n": pa.array([], pa.int64())})]
        rows_without = tokens_without = 0
        for batch in batches:
            train = batch.filter(pc.equal(batch["split"], "train"))
            keys, values, lengths = flat_tags(train["tags"])
            at = np.flatnonzero(pc.equal(keys, tag_key))
            row, n_tokens = np.repeat(np.arange(len(train)), lengths)[at], train["n_tokens"]
            of_domain = n_tokens.take(pa.array(row))
            part = pa.table({"domain": values.take(pa.array(at)), "n": of_domain})
            counts.append(_summed(part))
            rows_without += len(train) - len(at)
            tokens_without += int(pc.sum(n_tokens).as_py() or 0)
            tokens_without -= int(pc.sum(of_domain).as_py() or 0)
        total = _summed(pa.concat_tables(counts)).sort_by("domain").to_pydict()
        tokens = dict(zip(total["domain"], total["n"], strict=True))
        if not sum(tokens.values()):
            reason = f"no training row has the tag {tag_key!r}"
            raise IsolossError(Problem("mixture.tag_key", reason, "name a tag of the rows"))
        return cls(tokens, rows_without, tokens_without)


def _summed(part: pa.Table) -> pa.Table:
    return part.group_by("domain").aggregate([("n", "sum")]).rename_columns(["domain", "n"])


@checked()
def mixture_weights(natural: Shares, target: Shares, size: float = 1.0) -> dict[str, float]:
    """The weight of the rows of every domain by which a mixture is made.

    A domain's weight is `size` * target / natural proportion: expanded by it, the rows of all
    domains have `size` times their tokens, in the target's proportions.

    Args:
        natural: domain to its tokens, or to its share of them.
        target: domain to its proportion, which sum to 1; a domain that is not named has 0.
        size: tokens of the expanded rows, over those of the rows.

    Returns:
        Domain to weight, for every domain of `natural`.

    Raises:
        IsolossError: a domain of the target has no tokens, the proportions do not sum to 1, or more
            than 1e6 copies of a row would be needed.

    Example:
        >>> import isoloss
        >>> isoloss.mixture_weights({"web": 900, "code": 100}, {"web": 0.6, "code": 0.4})
        {'web': 0.6666666666666666, 'code': 4.0}
    """
    natural = _normalized(natural)
    for domain, share in target.items():
        if domain not in natural:
            reason, hint = f"no training row has {domain!r}", nearest(domain, natural)
            raise IsolossError(Problem("mixture", reason, hint))
        if not share >= 0:
            reason = f"the proportion of {domain!r} is {share:g}"
            raise IsolossError(Problem("mixture", reason, "give a number from 0 to 1"))
        if share > 0 and natural[domain] == 0:
            reason = f"the rows of {domain!r} have no tokens"
            raise IsolossError(Problem("mixture", reason, "leave the domain out"))
    total = math.fsum(target.values())
    if abs(total - 1) > _SUM:
        reason = f"the proportions sum to {total:.7g}"
        raise IsolossError(Problem("mixture", reason, "they have to sum to 1"))
    return {d: _weight(d, share, target.get(d, 0.0), size) for d, share in natural.items()}


def _weight(domain: str, natural: float, target: float, size: float) -> float:
    weight = size * target / natural if target > 0 else 0.0
    if weight > MOST_COPIES:
        reason = (
            f"{domain!r} has {natural:.3g} of the training tokens; to be {target:.3g} of {size:g} "
            f"times as many, each of its rows would be copied {weight:.3g} times"
        )
        remedy = f"at most {MOST_COPIES:.0e} are allowed: lower its proportion, or `size`"
        raise IsolossError(Problem("mixture", reason, remedy))
    return weight


def _normalized(shares: Shares) -> dict[str, float]:
    total = math.fsum(shares.values())
    if not total > 0:
        raise IsolossError(Problem("mixture", "no domain has tokens", "name a tag of the rows"))
    return {domain: share / total for domain, share in shares.items()}


def target_of(
    mixture: Mapping[str, Any], tokens: Shares, seed: int, best: pd.DataFrame | None = None
) -> dict[str, float]:
    """The proportions that a mixture of a study asks for.

    Args:
        mixture: the study's: `proportions`, `corner`, `draw` or `fit`, and perhaps `domains`.
        tokens: domain to its training tokens.
        seed: of the study, which decides draws.
        best: table `best_mixture` of the fit, where there is one.

    Returns:
        Domain to proportion; what is not named has 0.

    Raises:
        IsolossError: a domain has no rows, or the fit has no best mixture.
    """
    if "fit" in mixture:
        return best_of(best, mixture.get("group"))
    if isinstance(mixture.get("proportions"), Mapping):
        return dict(mixture["proportions"])
    names = mixture.get("domains", sorted(tokens))
    corner = mixture.get("corner")
    for name in [*names, *([corner["domain"]] if corner else [])]:
        if not tokens.get(name):
            reason, hint = f"no training row has {name!r}", nearest(name, tokens)
            raise IsolossError(Problem("mixture", reason, hint))
    natural = _normalized({name: tokens[name] for name in names})
    if corner:
        return _corner(natural, **corner)
    if "draw" in mixture:
        draw = mixture["draw"]
        random = generator(seed, "mixture", draw["label"])
        shares = random.dirichlet(draw["concentration"] * np.array(list(natural.values())))
        return dict(zip(natural, shares.tolist(), strict=True))
    return natural if mixture["proportions"] == "natural" else dict.fromkeys(names, 1 / len(names))


def _corner(natural: Shares, domain: str, share: float) -> dict[str, float]:
    """One domain at a share, the others share the rest in natural proportion."""
    rest = {name: value for name, value in natural.items() if name != domain}
    if not rest:
        if share < 1:
            reason = f"{domain!r} is the only domain, and its share is {share:g}"
            raise IsolossError(Problem("mixture.corner", reason, "name more domains, or share: 1"))
        return {domain: share}
    return {
        domain: share,
        **{name: (1 - share) * value for name, value in _normalized(rest).items()},
    }


def best_of(best: pd.DataFrame, group: str | None) -> dict[str, float]:
    """The best mixture of a fit, for one group of runs.

    Args:
        best: the table `best_mixture` of the fit.
        group: of runs; None where there is one only.

    Raises:
        IsolossError: no such group, several and none is named, or no best mixture was found.
    """
    groups = list(dict.fromkeys(best["group"]))
    if not groups:
        remedy = "set its `domain_weights`"
        raise IsolossError(Problem("mixture.fit", "the fit keeps no best mixture", remedy))
    if group is None and len(groups) > 1:
        reason = f"the fit has {len(groups)} groups"
        raise IsolossError(Problem("mixture.group", reason, f"name one: {listed(groups)}"))
    group = groups[0] if group is None else group
    if group not in groups:
        reason = f"the fit has no group {group!r}"
        raise IsolossError(Problem("mixture.group", reason, nearest(group, groups)))
    rows = best[best["group"] == group]
    shares = rows["proportion"].clip(lower=0)
    if not np.isfinite(shares).all():
        reason = f"the fit found no best mixture for group {group!r}"
        raise IsolossError(Problem("mixture.fit", reason, "look at its summary"))
    return _normalized(dict(zip(rows["domain"], shares.tolist(), strict=True)))


def mixture_table(
    audit: pd.DataFrame,
    weights: Mapping[str, Mapping[str, float]],
    tag_key: str | None = None,
    target: Shares | None = None,
) -> pd.DataFrame:
    """The table `mixture` of a weighting.

    Args:
        audit: of the training rows before and after.
        weights: tag key to tag value to weight.
        tag_key: the tag of a mixture.
        target: its proportions by domain; a domain that is not named has 0.
    """
    by_key = audit.groupby("tag_key")
    keys, values = audit["tag_key"], audit["tag_value"]
    pairs = list(zip(keys, values, strict=True))
    targets = [(target or {}).get(d, 0.0) if key == tag_key else None for key, d in pairs]
    return pd.DataFrame(
        {
            "tag_key": keys,
            "domain": values,
            "natural": audit["tokens_before"] / by_key["tokens_before"].transform("sum"),
            "target": pd.Series(targets, dtype=float),
            "achieved": audit["tokens_after"] / by_key["tokens_after"].transform("sum"),
            "multiplier": pd.Series([weights.get(k, {}).get(d) for k, d in pairs], dtype=float),
        }
    )


def told(mixture: pd.DataFrame, keys: Sequence[str]) -> str:
    """What a weighting makes of the proportions of some tags, for a log; empty without tags."""
    lines = []
    for key in keys:
        rows = mixture[mixture["tag_key"] == key]
        shown = rows.nlargest(_TOLD, "achieved")
        numbers = shown[["natural", "target", "achieved", "multiplier"]].to_numpy(float)
        cells = [
            [domain, *("" if math.isnan(x) else f"{x:.4g}" for x in line)]
            for domain, line in zip(shown["domain"], numbers, strict=True)
        ]
        head = [f"share of tokens by {key}", "natural", "target", "achieved", "weight"]
        lines.append(columns(head, cells))
        if len(rows) > len(shown):
            lines.append(f"and {len(rows) - len(shown)} more\n")
    return "".join(lines)

"""A fitted law: its tables, and the decisions that follow from it, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from isoloss import registry, tables
from isoloss.laws._law import Law
from isoloss.problems import IsolossError, nearest, problem

TABLES = registry.FIT_TABLES
OF_RUN = "of_run"  # column of points along runs: the run that a point belongs to
FALLBACK = "ALL"  # group of a mixture law that answers for a group without a fit
Interval = tuple[np.ndarray, np.ndarray]
_LOG_FLOPS = (-20.0, 150.0)  # where a budget is looked for, in ln FLOP
_NUMBERS = 2_000_000  # of an array of predictions
BIAS = 0.5  # standard normal deviate, the most that a median bias is corrected for
_MIXTURE_REPLICATES = 200  # of an optimal mixture
_SHARE_STEP = 1e-6  # of proportions, for slopes


@dataclass(frozen=True)
class Fit:
    """What `fit_law` found.

    Attributes:
        law: the law, its options chosen (of a mixture law, that of the last domain).
        params, summary, residuals, starts, replicates, scores, profiles, ranges, points: the
            tables of tables.yaml.
        facts: what the files say of themselves (sweep, law, options, ...).
    """

    law: Law
    params: pd.DataFrame
    summary: pd.DataFrame
    residuals: pd.DataFrame
    starts: pd.DataFrame
    replicates: pd.DataFrame
    scores: pd.DataFrame
    profiles: pd.DataFrame
    ranges: pd.DataFrame
    points: pd.DataFrame
    facts: dict = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """The groups, each with fits of its own."""
        return list(dict.fromkeys(self.summary["group"]))

    @property
    def responses(self) -> list[str]:
        """What was fitted: the loss, or the loss of every domain."""
        return list(dict.fromkeys(self.summary["response"]))

    @property
    def level(self) -> float:
        """Level of the intervals asked for at the fit."""
        return float(self.params["ci_level"].iloc[0])

    def law_of(self, response: str | None = None) -> Law:
        """The law of a response."""
        domains = self.facts.get("domains")
        if domains is None:
            return self.law
        return _made(self.facts, response or self.responses[0])

    def mine(self, table: str, group: str | None = None, response: str | None = None):
        """The rows of a table that belong to a group and response; the first where None."""
        rows = getattr(self, table)
        group, response = self._named(group, response)
        return rows[(rows["group"] == group) & (rows["response"] == response)]

    def theta(self, group: str | None = None, response: str | None = None) -> np.ndarray:
        """The optimum in the law's coordinates, (p,)."""
        ends = self.mine("starts", group, response)
        if len(ends):
            return np.asarray(ends.sort_values("start")["end"].iloc[0], dtype=float)
        # figures that need no more are given the parameters alone
        estimates = self.mine("params", group, response).set_index("term")["estimate"]
        terms = self.law_of(self._named(group, response)[1]).terms
        return np.array([t.coordinate(estimates[t.name]) for t in terms])

    def replicate_thetas(self, group: str | None = None, response: str | None = None):
        """The converged replicates, (r, p)."""
        rows = self.mine("replicates", group, response)
        rows = rows[rows["converged"]]
        if rows.empty:
            return np.empty((0, len(self.law_of(response).terms)))
        return np.stack([np.asarray(theta, dtype=float) for theta in rows["theta"]])

    def covariance(self, group: str | None = None, response: str | None = None) -> pd.DataFrame:
        """Covariance of the terms over the replicates, in their own units."""
        terms = self.law_of(response).terms
        thetas = self.replicate_thetas(group, response)
        values = np.stack([t.value(thetas[:, i]) for i, t in enumerate(terms)], axis=-1)
        names = [t.name for t in terms]
        return pd.DataFrame(np.atleast_2d(np.cov(values, rowvar=False)), names, names)

    def predict(
        self,
        group: str | None = None,
        response: str | None = None,
        level: float | None = None,
        **variables,
    ) -> pd.DataFrame:
        """Loss with its interval (of the law, without the noise of a run; see `band`).

        Args:
            group: which fit; the first where None.
            response: of which loss; the first where None.
            level: of the interval; that of the fit if None.
            variables: N, D, C as the law needs, each a number or array; a proportion that is
                not given is 0.

        Returns:
            One row a point: the variables, `loss_nats`, `low`, `high`, and `distance`: how far
            outside the runs fitted, as a factor (1 inside; of proportions, 1 plus how far).
        """
        group, response = self._named(group, response)
        law = self.law_of(response)
        data = self._data(law, variables)
        theta, thetas = self.theta(group, response), self.replicate_thetas(group, response)
        found = {**data, "loss_nats": law.loss(theta, data)}
        found["low"], found["high"] = band(law, theta, thetas, data, self._level(level))
        return pd.DataFrame({**found, "distance": self.distance(data, group, response)})

    def loss(
        self, group: str | None = None, response: str | None = None, **variables
    ) -> np.ndarray:
        """As `predict`, the predicted loss alone: (n,)."""
        group, response = self._named(group, response)
        law = self.law_of(response)
        return law.loss(self.theta(group, response), self._data(law, variables))

    def distance(
        self, data: Mapping[str, np.ndarray], group: str | None = None, response: str | None = None
    ) -> np.ndarray:
        """How far points lie outside the runs fitted, (n,): a factor, 1 inside."""
        ranges = self.mine("ranges", group, response).set_index("variable")
        found = np.ones(np.shape(next(iter(data.values()))))
        for name, values in data.items():
            if name not in ranges.index:
                continue
            low, high = ranges.loc[name, ["low", "high"]].astype(float)
            if self.law.flat:
                beyond = 1 + np.maximum(np.maximum(values - high, low - values), 0.0)
            else:
                beyond = np.maximum(np.maximum(values / high, low / values), 1.0)
            found = np.maximum(found, beyond)
        return found

    def allocate(self, C, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """How to divide a budget, with intervals.

        Args:
            C: FLOP (= 6 N D), a number or array.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a budget: C, and each of N, D, tokens_per_parameter, loss_nats with `_low` and
            `_high`; `replicates` counts those in which an optimum exists (both exponents
            positive); `distance` beyond the largest run as a factor of N and D.

        Raises:
            IsolossError: the law divides no budget.
        """
        return self._decide("C", C, self._allocation, group, level)

    def budget_for(
        self, loss, group: str | None = None, level: float | None = None
    ) -> pd.DataFrame:
        """The smallest budget that reaches a loss, divided as is best: as `allocate`, with C."""

        def smallest(theta: np.ndarray, target: float) -> dict[str, np.ndarray]:
            flops = self._flops(
                theta, lambda found: np.log(found["loss_nats"] / target), falling=True
            )
            found = self._allocation(theta, flops)
            return {"C": flops, **{k: v for k, v in found.items() if k != "loss_nats"}}

        return self._decide("target", loss, smallest, group, level)

    def data_for(self, N, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """The tokens D for which a model of N parameters is the best of its budget."""

        def tokens(theta: np.ndarray, size: float) -> dict[str, np.ndarray]:
            flops = self._flops(theta, lambda found: np.log(found["N"] / size), falling=False)
            found = self._allocation(theta, flops)
            return {"C": flops, **{k: v for k, v in found.items() if k != "N"}}

        return self._decide("N", N, tokens, group, level)

    def gain(self, C, a: str, b: str, level: float | None = None) -> pd.DataFrame:
        """Compute-equivalent gain of group b over group a, arms fitted beside each other.

        Args:
            C: budgets of a, FLOP.
            a: group fitted (an optimiser, a data set, an architecture).
            b: the group that is compared with it.
            level: of the interval.

        Returns:
            One row a budget: C, the loss that a reaches with it, and `gain` with `_low` and
            `_high`: C over the budget with which b reaches the same loss; above 1, b is better.
        """
        ours, theirs = self.replicate_thetas(a), self.replicate_thetas(b)
        count = min(len(ours), len(theirs))
        pairs = [
            (self.theta(a)[None], self.theta(b)[None]),
            (ours[:count], theirs[:count]),
        ]
        rows = []
        for flops in np.atleast_1d(np.asarray(C, dtype=float)):
            gains = []
            for one, other in pairs:
                loss = self._allocation(one, flops)["loss_nats"]
                same = self._flops(other, lambda f, loss=loss: np.log(f["loss_nats"] / loss), True)
                gains.append((flops / same, loss))
            (best, loss), (many, _) = gains
            sound = np.isfinite(many)
            low, high = quantiles(many[sound], self._level(level), best[0])
            rows.append(
                {
                    "C": flops,
                    "loss_nats": loss[0],
                    "gain": best[0],
                    "gain_low": float(low),
                    "gain_high": float(high),
                    "replicates": int(sound.sum()),
                }
            )
        return pd.DataFrame(rows)

    def best_mixture(
        self,
        domain_weights: Mapping[str, float],
        group: str | None = None,
        level: float | None = None,
        replicates: int = _MIXTURE_REPLICATES,
    ) -> pd.DataFrame:
        """The mixture of least weighted loss, over all mixtures inside the runs' ranges.

        Args:
            domain_weights: response (loss_<domain>, or its domain) to weight in the mean loss.
            group: which fits.
            level: of the intervals.
            replicates: of the fits, at most: each is an optimisation of its own.

        Returns:
            One row a domain: `domain`, `proportion` with `_low` and `_high` over replicates,
            and the mean loss in `loss_nats` with `_low` and `_high`, the same in every row (of
            laws with a posterior SD its interval at that mixture, as wide as if the errors of all
            losses were one).
        """
        weights = {
            k if k.startswith("loss_") else f"loss_{k}": w for k, w in domain_weights.items()
        }
        for name in set(weights) - set(self.responses):
            raise IsolossError(
                problem(f"domain weight {name}", "no such loss", nearest(name, self.responses))
            )
        domains = self.facts["domains"]
        ranges = self.mine("ranges", group, next(iter(weights))).set_index("variable")
        bounds = ranges.loc[domains, ["low", "high"]].to_numpy(float)
        total = sum(weights.values())
        laws = {r: self.law_of(r) for r in weights}

        def best(thetas: Mapping[str, np.ndarray], near: Sequence[np.ndarray], starts: int):
            def mean_loss(points: np.ndarray) -> np.ndarray:
                data = dict(zip(domains, points.T, strict=True))
                return sum(w * laws[r].loss(thetas[r], data) for r, w in weights.items()) / total

            known = _mixtures(bounds)
            order = np.argsort(mean_loss(known), kind="stable")[:starts]
            return _least_mixture(mean_loss, [*near, *known[order]], bounds)

        point = best({r: self.theta(group, r) for r in weights}, [], 3)
        drawn = {r: self.replicate_thetas(group, r) for r in weights}
        count = min([replicates, *(len(v) for v in drawn.values())])
        near = [point[:-1]] if np.isfinite(point).all() else []
        many = np.array([best({r: v[i] for r, v in drawn.items()}, near, 1) for i in range(count)])
        many = many.reshape(count, len(point))
        low, high = quantiles(many[np.isfinite(many).all(axis=-1)], self._level(level))
        there = {d: point[i : i + 1] for i, d in enumerate(domains)}
        sd = sum(w * laws[r].posterior_sd(self.theta(group, r), there) for r, w in weights.items())
        if sd.any():
            sides = normal_interval(point[-1:], sd / total, self._level(level))
            low, high = np.append(low[:-1], sides[0]), np.append(high[:-1], sides[1])
        return pd.DataFrame(
            {
                "domain": [d.removeprefix("p_") for d in domains],
                "proportion": point[:-1],
                "proportion_low": low[:-1],
                "proportion_high": high[:-1],
                "loss_nats": point[-1],
                "loss_nats_low": low[-1],
                "loss_nats_high": high[-1],
            }
        )

    def _decide(
        self, name: str, values, rule: Callable, group: str | None, level: float | None
    ) -> pd.DataFrame:
        """A rule at the optimum and at all replicates: one row a value, with intervals."""
        if not hasattr(self.law, "allocate"):
            card = self.facts.get("card", "this law")
            raise IsolossError(problem(card, "divides no budget", "fit a law in N and D"))
        group = self._named(group, None)[0]
        theta, thetas = self.theta(group)[None], self.replicate_thetas(group)
        rows = []
        for value in np.atleast_1d(np.asarray(values, dtype=float)):
            best, many = rule(theta, value), rule(thetas, value)
            sound = np.all(np.isfinite(np.stack(list(many.values()))), axis=0)
            row = {name: value}
            for column, at in best.items():
                low, high = quantiles(many[column][sound], self._level(level), at[0])
                row |= {column: at[0], f"{column}_low": float(low), f"{column}_high": float(high)}
            point = {k: np.array([row[k]]) for k in self.law.variables if k in row}
            row["distance"] = float(self.distance(point, group)[0]) if point else np.nan
            rows.append({**row, "replicates": int(sound.sum())})
        return pd.DataFrame(rows)

    def _allocation(self, theta: np.ndarray, flops) -> dict[str, np.ndarray]:
        flops = np.broadcast_to(np.asarray(flops, dtype=float), theta.shape[:1])
        with np.errstate(all="ignore"):  # an exponent that is not positive has no optimum: NaN
            n, d = self.law.allocate(theta, flops)
            data = {"N": n[:, None], "D": d[:, None], "C": flops[:, None]}
            data = {k: v for k, v in data.items() if k in self.law.variables}
            loss = self.law.loss(theta, data)[:, 0]
            sound = np.isfinite(n) & np.isfinite(d) & np.isfinite(loss) & (n > 0)
            found = {"N": n, "D": d, "tokens_per_parameter": d / n, "loss_nats": loss}
        return {name: np.where(sound, values, np.nan) for name, values in found.items()}

    def _flops(self, theta: np.ndarray, above: Callable, falling: bool) -> np.ndarray:
        """Budget at which a function of the allocation crosses zero, by bisection; or NaN."""
        low = np.full(len(theta), _LOG_FLOPS[0])
        high = np.full(len(theta), _LOG_FLOPS[1])

        def sign(log_flops):
            value = above(self._allocation(theta, np.exp(log_flops)))
            return -value if falling else value

        with np.errstate(all="ignore"):
            sound = (sign(low) < 0) & (sign(high) > 0)
            for _ in range(80):
                middle = (low + high) / 2
                up = sign(middle) > 0
                low, high = np.where(up, low, middle), np.where(up, middle, high)
        return np.where(sound, np.exp((low + high) / 2), np.nan)

    def _data(self, law: Law, variables: Mapping) -> dict[str, np.ndarray]:
        unknown = set(variables) - set(law.variables) - set("NDCU")
        for name in sorted(unknown):
            raise IsolossError(
                problem(f"variable {name}", "not one of the law", nearest(name, law.variables))
            )
        given = {
            name: np.atleast_1d(np.asarray(value, dtype=float))
            for name, value in variables.items()
            if name in law.variables
        }
        size = np.broadcast_shapes(*(v.shape for v in given.values()))
        missing = [name for name in law.variables if name not in given]
        if missing and not law.flat:
            raise IsolossError(
                problem(f"variable {missing[0]}", "not given", f"the law is {law.formula}")
            )
        return {name: np.broadcast_to(given.get(name, 0.0), size) for name in law.variables}

    def _named(self, group: str | None, response: str | None) -> tuple[str, str]:
        groups = self.groups
        if group is None:
            group = groups[0]
        elif group not in groups:
            only = groups[0] if "domains" in self.facts and len(groups) == 1 else FALLBACK
            if only not in groups:
                raise IsolossError(problem(f"group {group}", "no such fit", nearest(group, groups)))
            group = only
        response = self.responses[0] if response is None else response
        if FALLBACK in groups and group != FALLBACK:  # a group may lack the loss of one domain
            mine = (self.summary["group"] == group) & (self.summary["response"] == response)
            group = group if mine.any() else FALLBACK
        return group, response

    def _level(self, level: float | None) -> float:
        return self.level if level is None else level

    def save(self, folder: str | Path, law: str = "law", **facts) -> list[Path]:
        """Write the tables into a folder, under the name of the fit (`law`); their files."""
        found = {name: getattr(self, name) for name in TABLES}
        return tables.write_all(found, folder, {**self.facts, "law": law, **facts})


def _mixtures(bounds: np.ndarray) -> np.ndarray:
    """Mixtures to start from, (1 + k, k): even, and half of each domain; inside bounds (k, 2)."""
    k = len(bounds)
    rest = 0.5 / max(1, k - 1)
    even, halves = np.full((1, k), 1 / k), np.full((k, k), rest) + (0.5 - rest) * np.eye(k)
    return np.clip(np.concatenate([even, halves]), *bounds.T)


def _least_mixture(
    mean_loss: Callable[[np.ndarray], np.ndarray], starts: Sequence[np.ndarray], bounds: np.ndarray
) -> np.ndarray:
    """Mixture of least loss inside the bounds, and that loss after it: (k + 1,); NaN without.

    Args:
        mean_loss: of mixtures, (m, k) -> (m,).
        starts: mixtures to descend from.
        bounds: least and greatest proportions, (k, 2).
    """
    steps = _SHARE_STEP * np.eye(len(bounds))

    from scipy.optimize import minimize  # slow to import, and few fits need it

    def look(p: np.ndarray) -> tuple[float, np.ndarray]:
        p = np.maximum(p, 0.0)
        ahead, behind = p + steps, np.maximum(p - steps, 0.0)
        loss = mean_loss(np.concatenate([p[None], ahead, behind]))
        rise = loss[1 : 1 + len(p)] - loss[1 + len(p) :]
        return float(loss[0]), rise / np.diagonal(ahead - behind)

    found = [
        minimize(
            look,
            start,
            jac=True,
            bounds=bounds,
            constraints={
                "type": "eq",
                "fun": lambda p: p.sum() - 1.0,
                "jac": lambda p: np.ones(len(p)),
            },
            method="SLSQP",
        )
        for start in starts
    ]
    sound = [f for f in found if abs(f.x.sum() - 1) < 1e-6]
    if not sound:
        return np.full(len(bounds) + 1, np.nan)
    least = min(sound, key=lambda f: f.fun)
    return np.append(least.x, least.fun)


def load_fit(folder: str | Path) -> Fit:
    """Read a fit that `save` wrote."""
    (fit,) = fits_from([Path(folder) / f"{name}.parquet" for name in TABLES]).values()
    return fit


def quantiles(
    values: np.ndarray, level: float, centre: np.ndarray | float | None = None
) -> Interval:
    """Percentile interval over the first axis; NaN where there is nothing.

    Args:
        values: replicates, (r, ...).
        level: of the interval.
        centre: the estimate, (...); the percentiles are then corrected for the median bias of
            the replicates around it (Efron 1982), which covers best (docs/coverage.md). Of an
            estimate far out in the replicates, at a bound as a rule, it is corrected in part.
    """
    if len(values) == 0:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    tail = (1 - level) / 2
    if centre is None:
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high
    below = (values < centre).mean(axis=0) + 0.5 * (values == centre).mean(axis=0)
    shift = 2 * np.clip(ndtri(below), -BIAS, BIAS)
    ordered = np.sort(values, axis=0)
    ends = []
    for z in (ndtri(tail), ndtri(1 - tail)):
        place = ndtr(shift + z) * (len(values) - 1)
        under = np.floor(place).astype(int)
        over = np.minimum(under + 1, len(values) - 1)
        at, above = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (under, over))
        with np.errstate(invalid="ignore"):
            ends.append(at + (place - under) * (above - at))
    return ends[0], ends[1]


def band(
    law: Law, theta: np.ndarray, thetas: np.ndarray, data: Mapping[str, np.ndarray], level: float
) -> Interval:
    """Interval of a law's loss at points, (n,) each.

    By the law's posterior SD where it has one: replicates of a smoother are too much alike away
    from its runs. Else by replicates; NaN without any.

    Args:
        law: fitted.
        theta: the estimate, (p,).
        thetas: the replicates, (r, p).
        data: variables, (n,) each.
        level: of the interval.
    """
    loss, sd = law.loss(theta, data), law.posterior_sd(theta, data)
    if sd.any():
        return normal_interval(loss, sd, level)
    size = max(1, _NUMBERS // max(1, len(thetas)))  # points at once: memory is bounded
    pieces = [
        quantiles(
            law.loss(thetas, {k: v[at : at + size] for k, v in data.items()}),
            level,
            loss[at : at + size],
        )
        for at in range(0, len(loss), size)
    ]
    low, high = (np.concatenate(side) for side in zip(*pieces, strict=True))
    return low, high


def normal_interval(mean: np.ndarray, sd: np.ndarray, level: float) -> Interval:
    """The middle of a normal distribution that has a level."""
    wide = ndtri((1 + level) / 2) * sd
    return mean - wide, mean + wide


def fits_from(files: Sequence[str | Path]) -> dict[str, Fit]:
    """The fits among some files, by name; a table that was not given stays empty."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    said: dict[str, dict] = {}
    for file in files:
        facts = tables.facts(file)
        if "law" in facts:
            found.setdefault(facts["law"], {})[facts.pop("table")] = tables.frame(file)
            said[facts["law"]] = facts
    fits = {}
    for name, parts in found.items():
        whole = {table: parts.get(table, tables.empty(table)) for table in TABLES}
        responses = list(whole["summary"]["response"]) or ["loss_nats"]
        fits[name] = Fit(law=_made(said[name], responses[-1]), facts=said[name], **whole)
    return fits


def _made(facts: Mapping, response: str) -> Law:
    """The law that a fit's facts name, for a response."""
    card, options = registry.card("law", facts["card"]), facts["options"]
    domains = facts.get("domains")
    if domains is None:
        return card.make(**options)
    own = "p_" + response.removeprefix("loss_")
    return card.make(domains=domains, own=own if own in domains else None, **options)

"""Search for a law: forms fitted to what is left of a table, and ranked by what they miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isoloss.discovery import fitting
from isoloss.discovery.fitting import FormOnBlocks
from isoloss.discovery.forms import Form
from isoloss.discovery.grammar import forms
from isoloss.discovery.holdouts import Holdout
from isoloss.discovery.roles import Columns
from isoloss.discovery.scaled import Blocks

INSIDE = 0.6  # weight of the error of all runs beside the mean over hold-outs
PENALTY, SHORT = 0.05, 1.0  # of a parameter, in 2 ln(error), and divided by a group's runs
SLOPES = 0.2  # of an exponent that depends on a variable: it changes far away
TURNS = 0.3  # of a variable that the response turns back in beyond the runs, in 2 ln(error)
LEAVES = 1.0  # where the response leaves 0 to 1 beyond the runs, which it cannot
LOOSE = 0.1  # of a direction that the runs do not determine, in 2 ln(error)
RIDGE = 1e-10  # of a normal matrix of unit diagonal
WIDEST = 1e24  # square of a standard error at most, for noise of 1
SLACK = 1e-7  # singular value below which a direction is loose, of the largest
FAR = 10.0  # times the largest value, where the response is looked at
WHOLE = 0.505  # how far from 0.5 a response from 0 to 1 may lie
FEW = 4.0  # runs held out, of which an error is no better known than the noise
BEAM = 3  # forms that grow in a round
MOST = 12  # parameters at most of a form that has grown
SETTINGS = 10  # of a group for every one of them
ROUNDS = 2  # in which forms grow by a part
CEILING = 10.0  # times the spread of the responses, that an error counts at most
EXACT = 1e-6  # of the responses' spread: smaller errors are rounding, and compare nothing
ROUNDED = 1e-9  # of that spread: what an error counts at least
SAME = 0.01  # of the noise: forms that differ by less beyond the runs are one form
ALIKE = 1e-3  # relative difference of all errors below which two forms predict alike


@dataclass(frozen=True)
class Fitted:
    """A form with what it missed.

    Attributes:
        form: the form.
        errors: mean absolute error of every hold-out, (h,), at most ten times the responses' own
            spread; infinite where there is a run of which nothing is predicted.
        counts: runs of every hold-out, (h,).
        scatter: standard error of what is predicted of the runs of every hold-out, mean over them,
            for noise of 1, (h,).
        far: the same of what the fit of all runs predicts beyond them.
        ahead: what it predicts there, (m,).
        inside: mean absolute error of the runs when all of them are fitted, for each run that is
            left over by the parameters.
        loose: directions that the runs do not determine; see `looseness`.
        turns: variables beyond whose runs the response turns back, which it does nowhere among
            them.
        leaves: variables beyond whose runs the response leaves 0 to 1, though it cannot.
        theta: of every group, all runs fitted, (g, p), in the coordinates of `FormOnBlocks.law`.
        runs: of a group on average.
        kinds: what every hold-out is the largest runs of: a variable, or the product of all.
    """

    form: Form
    errors: np.ndarray
    counts: np.ndarray
    scatter: np.ndarray
    far: float
    ahead: np.ndarray
    inside: float
    loose: int
    turns: int
    leaves: int
    theta: np.ndarray
    runs: float
    kinds: tuple[str, ...]

    @property
    def error(self) -> float:
        """Geometric mean of the errors of all hold-outs."""
        return float(np.exp(np.mean(np.log(np.maximum(self.errors, 1e-300)))))

    def terms(self, noise: float) -> np.ndarray:
        """2 ln(error) of every hold-out, and of all runs with its weight, and penalties, (h,).

        A fit without the runs held out knows its parameters less well than that of all runs. What
        its own standard errors explain of the squared error held out is left out, and those of the
        fit of all runs beyond them are added.
        """
        form = self.form
        penalty = (PENALTY + SHORT / self.runs) * form.size + SLOPES * form.slopes
        penalty += LOOSE * self.loose + TURNS * self.turns + LEAVES * min(1, self.leaves)
        missed, far = self.unexplained(noise), noise * self.far
        outside = 2 * np.log(np.hypot(np.hypot(missed, far), floor_of(noise, self.counts)))
        inside = 2 * np.log(max(self.inside, 1e-300))
        return (1 - INSIDE) * outside + INSIDE * inside + penalty

    def unexplained(self, noise: float) -> np.ndarray:
        """The errors of the hold-outs, (h,), without what noise in their fits explains of them."""
        finite = np.isfinite(self.errors)
        errors = np.where(finite, self.errors, 1.0)
        return np.where(finite, errors**2 / np.hypot(errors, noise * self.scatter), np.inf)

    def repeats(self, other: Fitted, noise: float) -> bool:
        """Whether it is another form again: the same one written otherwise, or a larger one.

        A larger one is that has more parameters that the runs do not determine, and beyond the
        runs predicts the same within their noise.
        """
        with np.errstate(invalid="ignore"):  # beyond the runs a form may overflow
            apart = np.abs(self.ahead - other.ahead).mean()
        larger = self.form.size > other.form.size and self.loose > other.loose
        return bool(apart < (noise if larger else SAME * noise))

    def score(self, noise: float) -> float:
        """The mean over hold-outs; least is best."""
        return float(np.mean(self.terms(noise)))


@dataclass(frozen=True)
class Edge:
    """The runs of a search with what is held out of them.

    Attributes:
        blocks: runs by group.
        out: of every hold-out, and of one of nothing, bool (h + 1, g, n).
        positive: whether the response is above 0 and an offset not below.
        bounded: whether the response cannot leave 0 to 1.
        kinds: what every hold-out is the largest runs of, as in `Fitted`.
        beyond: variables of the runs further out, (g, n) each; the runs themselves if empty.
        largest: the runs that are looked at there, bool (g, n); all of them if None.
    """

    blocks: Blocks
    out: np.ndarray
    positive: bool
    bounded: bool = False
    kinds: tuple[str, ...] = ()
    beyond: Mapping[str, np.ndarray] = field(default_factory=dict)
    largest: np.ndarray | None = None

    @property
    def weight(self) -> np.ndarray:
        """Of the runs in every fit, (h + 1, g, n): without each hold-out, and of all runs last."""
        return (self.blocks.real & ~self.out).astype(float)

    @property
    def ahead(self) -> np.ndarray:
        """Which of the runs further out are looked at, bool (g, n)."""
        return self.blocks.real if self.largest is None else self.largest

    @property
    def fewest(self) -> int:
        """Runs of the smallest fit."""
        return int(self.weight.sum(axis=-1).min())

    def model(self, form: Form) -> FormOnBlocks:
        """A form on the runs."""
        return FormOnBlocks(form, self.blocks, self.positive)


def edge_of(
    blocks: Blocks,
    held: Sequence[Holdout],
    positive: bool,
    bounded: bool = False,
    beyond: Mapping[str, np.ndarray] | None = None,
    largest: np.ndarray | None = None,
) -> Edge:
    """Hold-outs by block; what `beyond` and `largest` are stands in `Edge`."""
    masks = [one.out[np.maximum(blocks.rows, 0)] & blocks.real for one in held]
    out = np.stack([*masks, np.zeros_like(blocks.real)])
    kinds = tuple(one.name.rsplit(maxsplit=1)[0] for one in held)
    return Edge(blocks, out, positive, bounded, kinds, beyond or {}, largest)


def fitted(form: Form, edge: Edge, seed: int) -> Fitted:
    """Fit a form without the runs held out, and to all runs, and see what it misses."""
    model = edge.model(form)
    theta = fitting.fit(model, edge.weight, seed)
    g = len(edge.blocks.real)
    missed = np.abs(model.predicted(theta) - edge.blocks.response)
    counts = edge.out[:-1].sum(axis=(1, 2))
    errors = _mean(missed[:-1], edge.out[:-1], counts)
    real = edge.blocks.real
    left = max(1, real.sum() - g * form.size)
    inside = float(missed[-1][real].sum() / left)
    whole = theta[-1]
    spread = _spread(edge)
    errors = np.where(
        np.isfinite(errors), np.clip(errors, ROUNDED * spread, CEILING * spread), np.inf
    )
    inside = max(inside, EXACT * spread) if np.isfinite(inside) else np.inf
    loose = looseness(model, whole, inside)
    runs = real.sum() / g
    turns, leaves = beyond(model, whole, edge.bounded)
    scatter, far = scatter_of(model, edge, theta)
    ahead = model.predicted(whole, edge.beyond or edge.blocks.data)[edge.ahead]
    return Fitted(
        form,
        errors,
        counts,
        scatter,
        far,
        ahead,
        inside,
        loose,
        turns,
        leaves,
        whole,
        runs,
        edge.kinds,
    )


def scatter_of(model: FormOnBlocks, edge: Edge, theta: np.ndarray) -> tuple[np.ndarray, float]:
    """Standard errors of predictions for noise of 1: of every hold-out, (h,), and beyond all runs.

    Noise is as the objective sees it: of a response above 0 in proportion to it.

    Args:
        model: the form on the runs.
        edge: what is held out, and where the predictions beyond are looked at.
        theta: of every fit, (h + 1, g, p).
    """
    blocks, out = edge.blocks, edge.out[:-1]
    size = np.ones_like(blocks.response)
    if edge.positive:
        size = blocks.response / blocks.response[blocks.real].mean()
    with np.errstate(all="ignore"):
        slopes = model.law.gradient(theta, blocks.data)
        beyond = model.law.gradient(theta[-1], edge.beyond or blocks.data)
        covariance = _covariance(slopes * (edge.weight / size)[..., None])
        errors = _standard(slopes[:-1], covariance[:-1])
        far = _standard(beyond, covariance[-1])
    return _mean(errors, out, out.sum(axis=(1, 2))), float(far[edge.ahead].mean())


def _covariance(slopes: np.ndarray) -> np.ndarray:
    """Covariances (..., p, p) of parameters for noise of 1, of slopes (..., n, p)."""
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    length = np.linalg.norm(slopes, axis=-2)
    length = np.where(length > 0, length, 1.0)[..., None, :]
    unit = slopes / length
    normal = np.swapaxes(unit, -1, -2) @ unit
    inverse = np.linalg.inv(normal + RIDGE * np.eye(normal.shape[-1]))
    return inverse / length / np.swapaxes(length, -1, -2)


def _standard(slopes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors (..., n) of predictions by their slopes (..., n, p)."""
    square = ((slopes @ covariance) * slopes).sum(axis=-1)
    return np.sqrt(np.where(np.isfinite(square), np.clip(square, 0.0, WIDEST), WIDEST))


def _spread(edge: Edge) -> float:
    """Mean distance of the responses from the middle one of their group."""
    blocks = edge.blocks
    response = np.where(blocks.real, blocks.response, np.nan)
    return float(np.nanmean(np.abs(response - np.nanmedian(response, axis=1, keepdims=True))))


def looseness(model: FormOnBlocks, theta: np.ndarray, noise: float) -> int:
    """Directions of the parameters that the runs do not determine.

    Of the worst group those along which nothing changes; or, if these are more, of the middle group
    those whose standard error is above 1 in the law's coordinates: a factor of e of a scale, all of
    an amplitude. A scale that has vanished is one, and so is a term that does nothing.

    Args:
        model: the form on the runs.
        theta: of every group, all runs fitted, (g, p).
        noise: of one run.
    """
    slopes = model.slopes(theta)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0) * model.blocks.real[..., None]
    size = np.linalg.norm(slopes, axis=1, keepdims=True)
    scaled = slopes / np.where(size > 0, size, 1.0)
    values = np.linalg.svd(scaled, compute_uv=False)
    flat = (values < SLACK * values[:, :1]).sum(axis=1).max()
    if not np.isfinite(noise):
        return int(flat)
    terms = zip(model.parameters, model.law.terms, strict=True)
    shares = np.array([p.role == "linear" and not term.log for p, term in terms])
    seen = np.linalg.svd(slopes * np.where(shares, np.abs(theta), 1.0)[:, None], compute_uv=False)
    return int(max(flat, np.median((seen < noise).sum(axis=1))))


def beyond(model: FormOnBlocks, theta: np.ndarray, bounded: bool) -> tuple[int, int]:
    """Variables beyond whose largest value the response turns back, or leaves 0 to 1.

    Of most groups, along each variable, the others at the middle of the runs and at their largest:
    only where it rises or falls throughout among the runs can it turn beyond them, up to FAR times
    (of a variable that may be 0 or below, as far again as its runs reach).
    """
    blocks, counts = model.blocks, np.zeros(2, dtype=int)
    for name in model.blocks.data:
        votes = []
        for g in range(len(theta)):
            real = blocks.real[g]
            own = {k: x[g][real] for k, x in blocks.data.items()}
            paths = [_path(model, theta[g], own, name, top) for top in (0.5, 1.0)]
            leaves = bounded and any(bool((np.abs(y - 0.5) > WHOLE).any()) for y in paths)
            votes.append((any(map(_turns, paths)), leaves))
        counts += np.mean(votes, axis=0) > 0.5
    return int(counts[0]), int(counts[1])


def _path(model: FormOnBlocks, theta: np.ndarray, own, name: str, top: float) -> np.ndarray:
    """The response along a variable: at 25 places among the runs and 14 beyond them, (39,)."""
    x = own[name]
    low, high = x.min(), x.max()
    if low > 0:
        path = np.concatenate([np.geomspace(low, high, 25), np.geomspace(high, FAR * high, 15)[1:]])
    else:
        path = np.linspace(low, 2 * high - low, 39)
    data = {k: np.full(len(path), np.quantile(v, top)) for k, v in own.items()}
    return model.predicted(theta, {**data, name: path})


def _turns(path: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):  # beyond the runs a form may overflow
        change = np.diff(path)
    inside, after = np.sign(change[:24]), np.sign(change[24:])
    return bool(abs(inside.mean()) > 0.99 and (after * inside[-1] < 0).any())


def _mean(missed: np.ndarray, out: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean absolute error of every hold-out, (h,), of what is missed (h, g, n)."""
    return np.where(out, missed, 0.0).sum(axis=(1, 2)) / counts


def floor_of(noise: float | np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What is added (in squares) to the error of hold-outs of so many runs, (..., h).

    Noise alone makes the error of few runs small or large: of four and fewer all of the noise is
    added, of more as much as their mean may be off by it.
    """
    return noise * np.sqrt(np.minimum(1.0, FEW / counts))


def noise_of(results: Sequence[Fitted]) -> float:
    """The noise of the runs: what the best form misses of them when all are fitted."""
    return min((one.inside for one in results), default=0.0)


def ranked(results: Sequence[Fitted]) -> list[Fitted]:
    """Best first, forms that predict alike once."""
    noise = noise_of(results)
    order = sorted(results, key=lambda one: _place(one, noise))
    kept: list[Fitted] = []
    for one in order:
        alike = (np.allclose(one.errors, other.errors, rtol=ALIKE) for other in kept[-20:])
        if not any(alike):
            kept.append(one)
    return kept


def _place(one: Fitted, noise: float) -> tuple:
    """By score; of those that differ by less than 1 % the smaller, and a sum before others."""
    form = one.form
    return round(one.score(noise), 2), form.size, form.family != "sum", len(form.text), form.text


@dataclass(frozen=True)
class Nested:
    """The largest runs, which judge whether a form may grow, and the others, on which it does.

    Attributes:
        edge: the others with what is held out of them.
        data: variables of the largest runs in the scale of the table, (n,).
        response: (n,).
        group: number of the group of each, (n,).
    """

    edge: Edge
    data: dict[str, np.ndarray]
    response: np.ndarray
    group: np.ndarray

    def missed(self, one: Fitted) -> np.ndarray:
        """Absolute errors of the largest runs by a form that was fitted to the others, (n,)."""
        model = self.edge.model(one.form)
        missed = np.empty(len(self.response))
        for g in np.unique(self.group):
            here = self.group == g
            data = {name: x[here] for name, x in self.data.items()}
            missed[here] = np.abs(model.predicted(one.theta[g], data) - self.response[here])
        return np.where(np.isfinite(missed), missed, np.inf)

    def better(self, one: Fitted, other: Fitted) -> bool:
        """Whether a form misses less than another, by more than one standard error."""
        gain = self.missed(other) - self.missed(one)
        if not np.isfinite(gain).all() or len(gain) < 2:
            return False
        return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def search(
    columns: Columns,
    edge: Edge,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
    nested: Nested | None = None,
) -> list[Fitted]:
    """Forms by what they miss, best first.

    Args:
        columns: what the variables are.
        edge: runs with what is held out.
        seed: of the starts.
        told: is called with every form that is fitted.
        nested: of a search whose forms may grow.
    """
    results: dict[str, Fitted] = {}
    least = edge.fewest

    def look(some: Iterable[Form]) -> None:
        for form in some:
            if form.text not in results and form.size + 1 < least:
                if told is not None:
                    told(form.text)
                results[form.text] = fitted(form, edge, seed)

    def best() -> list[Fitted]:
        able = [one for one in results.values() if one.form.structure is not None]
        return ranked(able)[:BEAM]

    look(forms(columns, edge.positive))
    if nested is not None:
        for _ in range(ROUNDS):
            for one in best():
                look(_gains(columns, one.form, nested, seed, told))
    for one in best():
        look(shape.form(columns) for shape in one.form.structure.pruned())
        if one.loose:
            look(shape.form(columns) for shape in one.form.structure.straightened())
    return ranked(list(results.values()))


def _gains(
    columns: Columns,
    parent: Form,
    nested: Nested,
    seed: int,
    told: Callable[[str], None] | None,
) -> list[Form]:
    """The form with one part more that a search without the largest runs would choose.

    Empty unless it misses less of these than its parent does.
    """
    children = [shape.form(columns) for shape in parent.structure.grown(columns)]
    edge = nested.edge
    most = min(MOST, int(settings(edge.blocks) / SETTINGS))
    least = edge.fewest
    children = [form for form in children if form.size <= most and form.size + 1 < least]
    if not children:
        return []
    results = []
    for form in (parent, *children):
        if told is not None:
            told(form.text)
        results.append(fitted(form, edge, seed))
    first = ranked(results)[0]
    return [first.form] if nested.better(first, results[0]) else []


def settings(blocks: Blocks) -> float:
    """Distinct settings of a group on average."""
    counts = []
    for g, real in enumerate(blocks.real):
        rows = np.stack([x[g][real] for x in blocks.data.values()], axis=1)
        counts.append(len(np.unique(rows, axis=0)))
    return float(np.mean(counts))

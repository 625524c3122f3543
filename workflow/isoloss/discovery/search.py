"""Search for a law: forms fitted to what is left of a table, and ranked by what they miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.discovery import fitting
from isoloss.discovery.fitting import FormOnBlocks, Task
from isoloss.discovery.forms import Form
from isoloss.discovery.grammar import forms
from isoloss.discovery.holdouts import Holdout
from isoloss.discovery.roles import Columns
from isoloss.discovery.scaled import Blocks
from isoloss.discovery.structure import form_of, grown, pruned

INSIDE = 0.2  # weight of the error of all runs beside the mean over hold-outs
POOL, KEEP = 96, 3  # starts that are looked at, and descended from, of every fit
PENALTY, SHORT = 0.05, 2.0  # of a parameter, in 2 ln(error), and divided by a group's runs
SLOPES = 0.2  # of an exponent that depends on a variable: it changes far away
TURNS = 0.3  # of a variable that the response turns back in beyond the runs, in 2 ln(error)
LOOSE = 0.1  # of a direction that the runs do not determine, in 2 ln(error)
SLACK = 1e-7  # singular value below which a direction is loose, of the largest
FAR = 10.0  # times the largest value, where the response is looked at
FEW = 4.0  # runs held out, of which an error is no better known than the noise
BEAM = 3  # forms that grow in a round
ALIKE = 1e-3  # relative difference of all errors below which two forms predict alike


@dataclass(frozen=True)
class Fitted:
    """A form with what it missed.

    Attributes:
        form: the form.
        errors: mean absolute error of every hold-out, (h,); infinite where it has none.
        counts: runs of every hold-out, (h,).
        inside: mean absolute error of the runs when all of them are fitted, for each run that is
            left over by the parameters.
        loose: directions that the runs do not determine.
        turns: variables beyond whose runs the response turns back, which it does nowhere among
            them.
        theta: parameters of every group, all runs fitted, (g, p).
        runs: of a group on average.
    """

    form: Form
    errors: np.ndarray
    counts: np.ndarray
    inside: float
    loose: int
    turns: int
    theta: np.ndarray
    runs: float

    @property
    def error(self) -> float:
        """Geometric mean of the errors of all hold-outs."""
        return float(np.exp(np.mean(np.log(np.maximum(self.errors, 1e-300)))))

    def terms(self, noise: float) -> np.ndarray:
        """2 ln(error) of every hold-out, and of all runs with its weight, and penalties, (h,)."""
        form = self.form
        penalty = (PENALTY + SHORT / self.runs) * form.size + SLOPES * form.slopes
        penalty += LOOSE * self.loose + TURNS * self.turns
        outside = 2 * np.log(np.hypot(self.errors, floor_of(noise, self.counts)))
        inside = 2 * np.log(max(self.inside, 1e-300))
        return (1 - INSIDE) * outside + INSIDE * inside + penalty

    def score(self, noise: float) -> float:
        """The mean over hold-outs; least is best."""
        return float(np.mean(self.terms(noise)))


@dataclass(frozen=True)
class Edge:
    """The runs of a search with what is held out of them.

    Attributes:
        blocks: runs by group.
        out: of every hold-out, and of one of nothing, bool (h + 1, g, n).
        delta: of Huber's penalty.
        positive: whether the response is above 0 and an offset not below.
    """

    blocks: Blocks
    out: np.ndarray
    delta: float
    positive: bool

    @property
    def task(self) -> Task:
        """A fit for every hold-out and group, hold-outs first; all runs are the last of them."""
        h, g, n = self.out.shape
        weight = (self.blocks.real & ~self.out).reshape(h * g, n).astype(float)
        return Task(np.tile(np.arange(g), h), weight)


def edge_of(blocks: Blocks, held: Sequence[Holdout], delta: float, positive: bool) -> Edge:
    """Hold-outs by block."""
    masks = [one.out[np.maximum(blocks.rows, 0)] & blocks.real for one in held]
    out = np.stack([*masks, np.zeros_like(blocks.real)])
    return Edge(blocks, out, delta, positive)


def fitted(form: Form, edge: Edge, seed: int) -> Fitted:
    """Fit a form without the runs held out, and to all runs, and see what it misses."""
    model = FormOnBlocks(form, edge.blocks, edge.delta, edge.positive)
    pool = fitting.starts_of(model, POOL, seed)
    theta, _ = fitting.fit(model, edge.task, pool, KEEP)
    h, g, n = edge.out.shape
    predicted = np.broadcast_to(model.predicted(theta, edge.task), (h * g, n)).reshape(h, g, n)
    missed = np.abs(predicted - edge.blocks.response)
    counts = edge.out[:-1].sum(axis=(1, 2))
    errors = _mean(missed[:-1], edge.out[:-1], counts)
    real = edge.blocks.real
    left = max(1, real.sum() - g * form.size)
    inside = float(missed[-1][real].sum() / left)
    whole = theta[-g:]
    loose = looseness(model, whole, edge.task.take(np.arange(len(theta) - g, len(theta))))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    inside = inside if np.isfinite(inside) else np.inf
    return Fitted(form, errors, counts, inside, loose, turned(model, whole), whole, real.sum() / g)


def looseness(model: FormOnBlocks, theta: np.ndarray, task: Task) -> int:
    """Directions of the parameters that the runs do not determine, of the worst group."""
    with np.errstate(all="ignore"):
        _, slopes = model.slopes(theta, task)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0) * np.sqrt(task.weight)[..., None]
    size = np.linalg.norm(slopes, axis=1, keepdims=True)
    scaled = slopes / np.where(size > 0, size, 1.0)
    values = np.linalg.svd(scaled, compute_uv=False)
    return int((values < SLACK * values[:, :1]).sum(axis=1).max())


def turned(model: FormOnBlocks, theta: np.ndarray) -> int:
    """Variables beyond whose largest value the response turns back, of most groups.

    Along each variable, the others at the middle of the runs and at their largest: only where it
    rises or falls throughout among the runs can it turn beyond them, up to FAR times (of a
    variable that may be 0 or below, as far again as its runs reach).
    """
    blocks, count = model.blocks, 0
    for name in model.blocks.data:
        votes = []
        for g in range(len(theta)):
            real = blocks.real[g]
            own = {k: x[g][real] for k, x in blocks.data.items()}
            votes.append(any(_turns(model, theta[g : g + 1], own, name, top) for top in (0.5, 1.0)))
        count += np.mean(votes) > 0.5
    return int(count)


def _turns(model, theta: np.ndarray, own, name: str, top: float) -> bool:
    x = own[name]
    low, high = x.min(), x.max()
    if low > 0:
        path = np.concatenate([np.geomspace(low, high, 25), np.geomspace(high, FAR * high, 15)[1:]])
    else:
        path = np.linspace(low, 2 * high - low, 39)
    data = {k: np.full((1, len(path)), np.quantile(v, top)) for k, v in own.items()}
    data[name] = path[None]
    along = model.predicted(theta, Task(np.zeros(1, int), np.ones((1, len(path)))), data)
    change = np.diff(np.broadcast_to(along, (1, len(path)))[0])
    inside, beyond = (np.sign(part) for part in (change[: len(change) * 24 // 38], change[24:]))
    straight = abs(inside.mean()) > 0.99
    return bool(straight and (beyond * inside[-1] < 0).any())


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


def search(
    columns: Columns,
    edge: Edge,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
) -> list[Fitted]:
    """Forms by what they miss, best first.

    Args:
        columns: what the variables are.
        edge: runs with what is held out.
        seed: of the starts.
        told: is called with every form that is fitted.
    """
    results: dict[str, Fitted] = {}
    least = edge.task.weight.sum(axis=1).min()

    def look(some: Iterable[Form]) -> None:
        for form in some:
            if form.text not in results and form.size + 1 < least:
                if told is not None:
                    told(form.text)
                results[form.text] = fitted(form, edge, seed)

    look(forms(columns, edge.positive))
    for move in (grown, grown, pruned):
        best = [one for one in ranked(list(results.values())) if one.form.structure is not None]
        for one in best[:BEAM]:
            look(form_of(columns, shape) for shape in move(columns, one.form.structure))
    return ranked(list(results.values()))

"""Search for a law: forms fitted to what is left of a table, and ranked by what they miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.discover import fitting
from isoloss.discover.fitting import FormOnBlocks, Task
from isoloss.discover.forms import Form
from isoloss.discover.grammar import forms
from isoloss.discover.holdouts import Holdout
from isoloss.discover.roles import Columns
from isoloss.discover.scaled import Blocks
from isoloss.discover.structure import form_of, grown, pruned

POOL, KEEP = 96, 3  # starts that are looked at, and descended from, of every fit
PENALTY = 0.05  # of a parameter, in 2 ln(error)
LOOSE = 0.1  # of a direction that the runs do not determine, in 2 ln(error)
SLACK = 1e-7  # singular value below which a direction is loose, of the largest
BEAM = 3  # forms that grow in a round
ALIKE = 1e-3  # relative difference of all errors below which two forms predict alike


@dataclass(frozen=True)
class Fitted:
    """A form with what it missed.

    Attributes:
        form: the form.
        errors: mean absolute error of every hold-out, (h,); infinite where it has none.
        inside: mean absolute error of the runs when all of them are fitted, for each run that is
            left over by the parameters.
        loose: directions that the runs do not determine.
        theta: parameters of every group, all runs fitted, (g, p).
    """

    form: Form
    errors: np.ndarray
    inside: float
    loose: int
    theta: np.ndarray

    def terms(self, noise: float) -> np.ndarray:
        """2 ln(error) of every hold-out with the penalties, (h,); errors below noise are noise."""
        penalty = PENALTY * self.form.size + LOOSE * self.loose
        return np.log(self.errors**2 + noise**2) + penalty

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


def edge_of(
    blocks: Blocks, held: Sequence[Holdout], delta: float, positive: bool
) -> Edge:
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
    errors = np.where(edge.out, missed, 0.0)[:-1].sum(axis=(1, 2)) / edge.out[:-1].sum(axis=(1, 2))
    real = edge.blocks.real
    left = max(1, real.sum() - g * form.size)
    inside = float(missed[-1][real].sum() / left)
    whole = theta[-g:]
    loose = looseness(model, whole, edge.task.take(np.arange(len(theta) - g, len(theta))))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    return Fitted(form, errors, inside if np.isfinite(inside) else np.inf, loose, whole)


def looseness(model: FormOnBlocks, theta: np.ndarray, task: Task) -> int:
    """Directions of the parameters that the runs do not determine, of the worst group."""
    with np.errstate(all="ignore"):
        _, slopes = model.slopes(theta, task)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0) * np.sqrt(task.weight)[..., None]
    size = np.linalg.norm(slopes, axis=1, keepdims=True)
    scaled = slopes / np.where(size > 0, size, 1.0)
    values = np.linalg.svd(scaled, compute_uv=False)
    return int((values < SLACK * values[:, :1]).sum(axis=1).max())


def noise_of(results: Sequence[Fitted]) -> float:
    """The noise of the runs: what the best form misses of them when all are fitted."""
    return min((one.inside for one in results), default=0.0)


def ranked(results: Sequence[Fitted]) -> list[Fitted]:
    """Best first, forms that predict alike once."""
    noise = noise_of(results)
    order = sorted(results, key=lambda one: (one.score(noise), one.form.size, one.form.text))
    kept: list[Fitted] = []
    for one in order:
        alike = (np.allclose(one.errors, other.errors, rtol=ALIKE) for other in kept[-20:])
        if not any(alike):
            kept.append(one)
    return kept


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

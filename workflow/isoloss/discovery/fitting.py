"""Fit one form to many parts of a table at once: every group, every hold-out, several starts.

Robust least squares: Gauss-Newton with damping on Huber's penalty of scaled residuals, by iterative
reweighting, with the linear parameters projected out at every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.discovery.forms import SPARE, Form
from isoloss.discovery.scaled import Blocks
from isoloss.formulas import Evaluator, read_formula

DELTA = 1e-3  # where Huber's square turns into a line, of relative residuals
WIDER = ((30.0, 12), (3.0, 12), (1.0, 16))  # times delta, and steps on each
OFFSETS = (0.0, 0.6, 0.9)  # of the least response, at which exponentials begin
LIGHT = 1e-9  # ridge of a projection, of its own diagonal
CELLS = 1 << 21  # numbers in one array, at most


@dataclass(frozen=True)
class Task:
    """What one fit of a batch fits.

    Attributes:
        group: number of the block, (b,).
        weight: of its runs, (b, n).
    """

    group: np.ndarray
    weight: np.ndarray

    def take(self, which) -> Task:
        """Some of the fits."""
        return Task(self.group[which], self.weight[which])


class FormOnBlocks:
    """A form on the runs of a table.

    Args:
        form: the form.
        blocks: the runs.
        delta: of Huber's penalty, in units of `blocks.size`.
        bounded: whether an offset must not lie below 0.
    """

    def __init__(self, form: Form, blocks: Blocks, delta: float, bounded: bool):
        self.form, self.blocks, self.delta = form, blocks, delta
        tree = read_formula(form.expression).tree
        self.names = tuple(p.name for p in form.parameters)
        self.q = len(form.curved)
        self.scales = np.array([p.role == "scale" for p in form.curved], bool)
        self.low = np.array([p.low for p in form.curved])
        self.high = np.array([p.high for p in form.curved])
        self.full, self.straight = Evaluator(tree, self.names), Evaluator(tree, form.linear)
        self.log = form.link == "log"
        linear = form.linear
        at = [i for i, name in enumerate(linear) if name in ("E", "E_0")]
        self.offset = at[0] if at and bounded and not self.log else None
        self.target = np.log(blocks.response) if self.log else blocks.response
        self.size = np.ones_like(blocks.size) if self.log else blocks.size

    def given(self, theta: np.ndarray, task: Task, data=None) -> dict[str, np.ndarray]:
        """What is evaluated: parameters (b, 1), variables (b, n) or (1, n)."""
        values = theta.copy()
        values[:, : self.q][:, self.scales] = np.exp(values[:, : self.q][:, self.scales])
        given = {name: values[:, i, None] for i, name in enumerate(self.names)}
        for name, x in (self.blocks.data if data is None else data).items():
            given[name] = x if len(x) == 1 else x[task.group]
        return given

    def of(self, table: np.ndarray, task: Task) -> np.ndarray:
        """A table by block for every fit, (b, n) or (1, n)."""
        return table if len(table) == 1 else table[task.group]

    def residual(self, value: np.ndarray, task: Task) -> np.ndarray:
        """Scaled residuals, (b, n)."""
        return (value - self.of(self.target, task)) / self.of(self.size, task)

    def slopes(self, theta: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Scaled residuals (b, n) and their derivatives by the coordinates (b, n, p)."""
        value, gradient = self.full.gradient(self.given(theta, task))
        width = (len(theta), task.weight.shape[1])
        residual = self.residual(np.broadcast_to(value, width), task)
        gradient = np.broadcast_to(gradient, (*width, theta.shape[1]))
        gradient = gradient / self.of(self.size, task)[..., None]
        if self.scales.any():
            inner = np.exp(theta[:, : self.q][:, self.scales])
            gradient[:, :, np.flatnonzero(self.scales)] *= inner[:, None, :]
        return residual, gradient

    def projected(self, theta: np.ndarray, task: Task, weight: np.ndarray) -> np.ndarray:
        """The best linear parameters for the others, for weights of squares (b, n)."""
        if self.q == len(self.names):
            return theta
        theta = theta.copy()
        theta[:, self.q :] = 0.0
        value, basis = self.straight.gradient(self.given(theta, task))
        width = (len(theta), task.weight.shape[1])
        basis = np.broadcast_to(basis, (*width, len(self.names) - self.q))
        size = self.of(self.size, task)
        basis = basis / size[..., None]
        aim = -self.residual(np.broadcast_to(value, width), task)
        theta[:, self.q :] = self._solved(basis, aim, weight)
        return theta

    def _solved(self, basis: np.ndarray, aim: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Weighted least squares (b, m), the offset not below 0 where that is asked."""
        across = np.swapaxes(basis * weight[..., None], 1, 2)
        normal, right = across @ basis, (across @ aim[..., None])[..., 0]
        best = _solve(normal, right)
        if self.offset is not None:
            below = best[:, self.offset] < 0
            if below.any():
                normal, right = normal[below], right[below]
                normal[:, self.offset, :] = normal[:, :, self.offset] = 0.0
                right[:, self.offset] = 0.0
                best[below] = _solve(normal, right)
        return best

    def predicted(self, theta: np.ndarray, task: Task, data=None) -> np.ndarray:
        """The response, (b, n)."""
        with np.errstate(all="ignore"):
            value = self.full.value(self.given(theta, task, data))
            return np.exp(value) if self.log else value


def _solve(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations (b, m, m) x = (b, m), scaled, with a light ridge; 0 where empty."""
    diagonal = np.einsum("bii->bi", normal)
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    size = np.where(np.isfinite(size), size, 1.0)
    scaled = normal / size[:, :, None] / size[:, None, :]
    scaled = np.where(np.isfinite(scaled), scaled, 0.0)
    eye = np.eye(normal.shape[-1])
    scaled = scaled + eye * np.where(diagonal > 0, LIGHT, 1.0)[:, :, None]
    right = np.where(np.isfinite(right), right / size, 0.0)
    return np.linalg.solve(scaled, right[..., None])[..., 0] / size


def _huber(residual: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


def _objective(residual: np.ndarray, weight: np.ndarray, delta: float) -> np.ndarray:
    value = np.einsum("bn,bn->b", weight, _huber(residual, delta))
    return np.where(np.isfinite(value), value, np.inf)


def descend(
    model: FormOnBlocks, theta: np.ndarray, task: Task, delta: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Descend from every start.

    Args:
        model: the form on the runs.
        theta: starts, (b, p).
        task: what each fits.
        delta: of Huber's penalty.
        steps: at most.

    Returns:
        Ends (b, p), and the objective there (b,).
    """
    theta = theta.copy()
    value = np.full(len(theta), np.inf)
    block = max(1, CELLS // max(1, task.weight.shape[1] * theta.shape[1]))
    with np.errstate(all="ignore"):
        for at in range(0, len(theta), block):
            part = slice(at, at + block)
            theta[part], value[part] = _descend(model, theta[part], task.take(part), delta, steps)
    return theta, value


def _descend(model, theta, task, delta, steps):
    ends, values = theta.copy(), np.full(len(theta), np.inf)
    who = np.arange(len(theta))
    residual, slopes = model.slopes(theta, task)
    value = _objective(residual, task.weight, delta)
    damping = np.full(len(theta), 1e-2)
    for _ in range(steps):
        trial = _step(model, theta, residual, slopes, task, delta, damping)
        residual_there, slopes_there = model.slopes(trial, task)
        there = _objective(residual_there, task.weight, delta)
        better = there < value
        gain = np.where(better, value - there, 0.0)
        settled = better & (gain <= 1e-7 * value)
        theta = np.where(better[:, None], trial, theta)
        residual = np.where(better[:, None], residual_there, residual)
        slopes = np.where(better[:, None, None], slopes_there, slopes)
        value = np.where(better, there, value)
        damping = np.clip(np.where(better, damping * 0.2, damping * 6.0), 1e-9, 1e9)
        over = settled | (damping > 1e6) | ~np.isfinite(value)
        if over.any():
            ends[who[over]], values[who[over]] = theta[over], value[over]
            go = ~over
            who, theta, residual, slopes = who[go], theta[go], residual[go], slopes[go]
            task, value, damping = task.take(go), value[go], damping[go]
            if not len(who):
                return ends, values
    ends[who], values[who] = theta, value
    return ends, values


def _step(model, theta, residual, slopes, task, delta, damping):
    """Where a damped step leads, linear parameters at their best."""
    weight = task.weight * delta / np.maximum(np.abs(residual), delta)
    weight = np.where(np.isfinite(residual), weight, 0.0)
    q = model.q
    if not q:
        return model.projected(theta, task, weight)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    residual = np.where(np.isfinite(residual), residual, 0.0)
    across = np.swapaxes(slopes * weight[..., None], 1, 2)
    hessian, towards = across @ slopes, -(across @ residual[..., None])[..., 0]
    diagonal = np.einsum("bii->bi", hessian)
    lifted = hessian + np.eye(hessian.shape[-1]) * (diagonal * damping[:, None])[:, :, None]
    trial = theta + _solve(lifted, towards)
    trial[:, :q] = np.clip(trial[:, :q], model.low, model.high)
    return model.projected(trial, task, weight)


def starts_of(model: FormOnBlocks, count: int, seed: int) -> np.ndarray:
    """Values of the parameters that are not linear, (s, q), drawn over where they may lie.

    Exponents log-uniform, one in five of the other sign where their bounds allow it.
    """
    generator = np.random.default_rng([seed, model.q])
    draws = generator.random((count, model.q))
    signs = generator.random((count, model.q)) < 0.2
    columns = []
    for i, parameter in enumerate(model.form.curved):
        low, high = parameter.near
        if parameter.role == "exponent" and low > 0:
            column = np.exp(np.log(low) + draws[:, i] * np.log(high / low))
            if parameter.low < 0:
                column = np.where(signs[:, i], -0.5 * column, column)
        else:
            column = low + draws[:, i] * (high - low)
        columns.append(column)
    return np.stack(columns, axis=1) if columns else np.empty((1, 0))


def best_starts(model: FormOnBlocks, task: Task, pool: np.ndarray, keep: int) -> np.ndarray:
    """The best of a pool of starts for every fit, linear parameters at their best, (b, keep, p)."""
    if model.form.exponent:
        return _exponential_starts(model, task)
    keep = min(keep, len(pool))
    width = len(model.names)
    begin = np.concatenate([pool, np.zeros((len(pool), width - model.q))], axis=1)
    kept = np.empty((len(task.group), keep, width))
    with np.errstate(all="ignore"):
        for b in range(len(task.group)):
            every = task.take(np.full(len(pool), b))
            moved = model.projected(begin, every, every.weight)
            value = model.full.value(model.given(moved, every))
            shape = (len(pool), task.weight.shape[1])
            residual = model.residual(np.broadcast_to(value, shape), every)
            error = np.einsum("bn,bn->b", every.weight, np.abs(residual))
            order = np.argsort(np.where(np.isfinite(error), error, np.inf), kind="stable")
            kept[b] = moved[order[:keep]]
    return kept


def _exponential_starts(model: FormOnBlocks, task: Task) -> np.ndarray:
    """Starts of E + exp(polynomial): the polynomial fitted to the logarithm above several E."""
    curved = tuple(p.name for p in model.form.curved)
    inner = Evaluator(read_formula(model.form.exponent).tree, curved)
    count = len(task.group)
    begin = np.zeros((count, len(model.names)))
    response = model.of(model.blocks.response, task)
    shape = task.weight.shape
    response = np.broadcast_to(response, shape)
    used = task.weight > 0
    least = np.where(used, response, np.inf).min(axis=1)
    most = np.where(used, response, -np.inf).max(axis=1)
    _, basis = inner.gradient(model.given(begin, task))
    basis = np.broadcast_to(basis, (*shape, len(curved)))
    kept = []
    for share in OFFSETS:
        floor = share * least if (least > 0).all() else least - (1.05 - share) * (most - least)
        above = np.maximum(response - floor[:, None], SPARE * (most - least)[:, None] + 1e-300)
        weight = task.weight * above**2 / np.max(above, axis=1, keepdims=True) ** 2
        across = np.swapaxes(basis * weight[..., None], 1, 2)
        best = _solve(across @ basis, (across @ np.log(above)[..., None])[..., 0])
        kept.append(np.column_stack([np.clip(best, model.low, model.high), floor]))
    return np.stack(kept, axis=1)


def fit(
    model: FormOnBlocks, task: Task, pool: np.ndarray, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best end of several starts of every fit.

    Args:
        model: the form on the runs.
        task: what to fit.
        pool: starts of what is not linear, (s, q).
        keep: starts of every fit that are descended from.

    Returns:
        Parameters (b, p), and the objective (b,).
    """
    begin = best_starts(model, task, pool, keep)
    count, keep = begin.shape[:2]
    theta = begin.reshape(count * keep, -1)
    every = task.take(np.repeat(np.arange(count), keep))
    for wider, steps in WIDER:
        theta, value = descend(model, theta, every, wider * model.delta, steps)
    value = value.reshape(count, keep)
    best = np.argmin(value, axis=1)
    rows = np.arange(count)
    return theta.reshape(count, keep, -1)[rows, best], value[rows, best]

"""The built-in trainer trains any task: here images that are told apart, without a token."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from isoloss.core import registry
from isoloss.models._model import model_of
from isoloss.tasks._task import learn
from isoloss.trainers import builtin
from isoloss.trainers._trainer import DivergedError


class Images:
    """Points in a plane, of three kinds, which are told apart by where they are."""

    def __init__(self, n_items: int = 96):
        rng = np.random.default_rng(5)
        self.labels = rng.integers(0, 3, n_items)
        centres = np.array([[0, 2], [2, -1], [-2, -1]])[self.labels]
        points = centres + rng.normal(0, 0.5, (n_items, 2))
        self.points = torch.from_numpy(points.astype(np.float32))
        self.n_items, self.guess = n_items, math.log(3)
        self.shapes = {"inputs": 2, "classes": 3}
        self.releases = 0

    def batches(self, size, rng):
        while True:
            yield rng.integers(0, self.n_items, size)

    def learn(self, model, items, share=1.0):
        return learn(model, self.points[items], torch.tensor(self.labels[items]), share)

    def n_unique(self, seen):
        return int(seen.sum())

    @torch.no_grad()
    def evaluate(self, model):
        loss = float(functional.cross_entropy(model(self.points), torch.tensor(self.labels)))
        about = {"split": "valid", "tag_key": "kind", "domain": "all", "n_tokens": self.n_items}
        return loss, [{**about, "loss_nats": loss}]

    def release(self):
        self.releases += 1


@dataclass(frozen=True)
class Model:
    """Softmax regression, or worse: its first weights are `scale` large."""

    scale: float
    inputs: int
    classes: int

    def nominal_width(self):
        return 16

    def build(self, rng):
        layer = torch.nn.Linear(self.inputs, self.classes)
        with torch.no_grad():
            for values in layer.parameters():
                drawn = rng.normal(0, self.scale, values.shape)
                values.copy_(torch.from_numpy(drawn.astype(np.float32)))
        return layer


CARD = SimpleNamespace(Model=Model)
TRAINER = registry.defaults("trainer", "builtin")


def settings_of(n_examples=1920, **changes) -> dict:
    """The row of the plan of a run."""
    settings = {"model": "softmax", "seed": 0, "scale": 0.1, **TRAINER, "batch_size": 8}
    settings |= {"peak_learning_rate": 0.1, **changes}
    return settings | builtin.plan(n_examples, 1, settings)


class Keeper:
    """Keeps the last state in memory; `at` is the step after which the run is cut off."""

    def __init__(self, state=None, at=None):
        self.state, self.at = state, at

    def load(self):
        return self.state

    def due(self):
        return self.at is not None

    def save(self, state):
        if state["step"] == self.at:
            self.state = {**state, "parameters": state["parameters"].clone()}
            raise KeyboardInterrupt


def train(settings, task=None, keeper=None):
    return builtin.train(
        settings, 1, CARD, task or Images(), itertools.repeat(None), keeper or Keeper()
    )


def test_a_task_without_tokens_is_learned():
    task, settings = Images(), settings_of()
    trained = train(settings, task)
    assert settings["n_samples"] == 1920 and settings["n_steps"] == 240
    assert trained.measured["loss_nats"] < 0.1 < task.guess
    assert trained.measured["n_unique"] == task.n_items
    assert trained.measured["losses"] == [
        {
            "step": 240,
            "split": "valid",
            "tag_key": "kind",
            "domain": "all",
            "n_tokens": 96,
            "loss_nats": trained.measured["loss_nats"],
        }
    ]
    assert trained.measured["curve"][-1]["n_samples"] == 1920
    assert set(trained.weights) == {"weight", "bias"}
    assert task.releases == 4


def test_a_run_is_bitwise_the_same_twice_and_another_with_another_seed():
    one, again, other = (train(settings_of(seed=seed)).weights for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["weight"], other["weight"])


def test_a_run_that_was_cut_off_goes_on_bit_for_bit():
    whole = train(settings_of())
    cut = Keeper(at=100)
    with pytest.raises(KeyboardInterrupt):
        train(settings_of(), keeper=cut)
    rest = train(settings_of(), keeper=Keeper(cut.state))
    assert rest.measured == whole.measured
    assert all(torch.equal(whole.weights[name], rest.weights[name]) for name in whole.weights)


def test_a_loss_worse_than_a_guess_has_diverged():
    with pytest.raises(DivergedError, match=r"guessing has 1\.1"):
        train(settings_of(n_examples=8, scale=50.0))
    with pytest.raises(DivergedError, match="not finite at step 1 of 1"):
        train(settings_of(n_examples=8, scale=1e38))


def test_optimiser_settings_share_the_draws_of_a_run_and_sizes_do_not():
    def noise(**changes):
        settings = settings_of(**changes)
        return builtin.noise_of(model_of(CARD, settings | Images().shapes), settings)

    assert noise() == noise(peak_learning_rate=0.2, weight_decay=0.0)
    assert len({noise(), noise(scale=0.2), noise(seed=1), noise(n_examples=80)}) == 4


@pytest.mark.parametrize("width", [8, 16, 64])
def test_the_learning_rate_is_scaled_by_the_models_width(width):
    settings = settings_of(learning_rate_exponent=1.0)
    peaks = [builtin.learning_rate(step, width, settings) for step in range(settings["n_steps"])]
    assert max(peaks) == pytest.approx(0.1 * 16 / width)
    assert peaks[-1] == pytest.approx(0.05 * max(peaks))

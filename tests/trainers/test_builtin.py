"""The built-in trainer trains any task: here images that are told apart, without a token."""

from __future__ import annotations

import copy
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
        self.releases, self.device = 0, "cpu"

    def batches(self, size, rng):
        while True:
            yield rng.integers(0, self.n_items, size)

    def to(self, device):
        self.points, self.device = self.points.to(device), device

    def learn(self, model, items, share=1.0):
        labels = torch.tensor(self.labels[items], device=self.device)
        return learn(model, self.points[items], labels, share)

    def n_unique(self, seen):
        return int(seen.sum())

    @torch.no_grad()
    def evaluate(self, model):
        labels = torch.tensor(self.labels, device=self.device)
        loss = float(functional.cross_entropy(model(self.points), labels))
        about = {"split": "valid", "tag_key": "kind", "domain": "all", "n_tokens": self.n_items}
        return loss, [{**about, "loss_nats": loss}]

    def release(self):
        self.releases += 1


@dataclass(frozen=True)
class Model:
    """Softmax regression, or a network with one hidden layer.

    Attributes:
        scale: of the first weights.
        hidden: units of the hidden layer; 0 for none.
        drop: share of the hidden units that are dropped.
        frozen: whether the hidden layer is left as it is.
    """

    scale: float
    hidden: int
    drop: float
    frozen: bool
    inputs: int
    classes: int

    def nominal_width(self):
        return 16

    def build(self, rng):
        module = torch.nn.Linear(self.inputs, self.classes)
        if self.hidden:
            module = torch.nn.Sequential(
                torch.nn.Linear(self.inputs, self.hidden),
                torch.nn.Tanh(),
                torch.nn.Dropout(self.drop),
                torch.nn.Linear(self.hidden, self.classes),
            )
            module.edges = ["3.weight"]
            module[0].requires_grad_(not self.frozen)
        with torch.no_grad():
            for values in module.parameters():
                drawn = rng.normal(0, self.scale, values.shape)
                values.copy_(torch.from_numpy(drawn.astype(np.float32)))
        return module


CARD = SimpleNamespace(Model=Model)
TRAINER = registry.defaults("trainer", "builtin")


def settings_of(n_examples=1920, **changes) -> dict:
    """The row of the plan of a run."""
    sizes = {"scale": 0.1, "hidden": 0, "drop": 0.0, "frozen": False}
    settings = {"model": "softmax", "seed": 0, **sizes, **TRAINER, "batch_size": 8}
    settings |= {"peak_learning_rate": 0.1, **changes}
    return settings | builtin.plan(n_examples, 1, settings)


class Keeper:
    """Keeps the last state in memory; `at` is the step after which the run is cut off.

    Models after some `steps` are kept too.
    """

    def __init__(self, state=None, at=None, steps=()):
        self.state, self.at, self.steps, self.models = state, at, steps, {}

    def load(self):
        return self.state

    def due(self):
        return self.at is not None

    def save(self, state):
        if state["step"] == self.at:
            self.state = copied(state)
            raise KeyboardInterrupt

    def keep(self, step, weights):
        self.models[step] = copied(weights)


def copied(values):
    """Values of which the tensors, and they only, are copies."""
    tensors = {name: v.clone() for name, v in values.items() if isinstance(v, torch.Tensor)}
    return copy.deepcopy({**values, **tensors})


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


def assert_same(one, other):
    """Assert that two runs are bitwise the same."""
    assert one.measured == other.measured
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


OPTIMIZERS = registry.options("trainer", "builtin")["optimizer"]["enum"]
SCHEDULES = registry.options("trainer", "builtin")["schedule"]["enum"]
WAYS = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"optimizer": name, "accumulate": 3} for name in OPTIMIZERS),
    *({"schedule": name} for name in SCHEDULES),
    {"optimizer": "sgd", "momentum": 0.0},
    {"optimizer": "sgd", "nesterov": False, "clip_norm": 0},
    {"precision": "bfloat16"},
    {"drop": 0.5},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(way):
    settings, steps = settings_of(n_examples=480, hidden=5, **way), (20, 50)
    whole_keeper, cut, before = Keeper(steps=steps), Keeper(at=30, steps=steps), Keeper()
    whole = train(settings, keeper=whole_keeper)
    with pytest.raises(KeyboardInterrupt):
        train(settings, keeper=cut)
    before.state = copied(cut.state)
    rest_keeper = Keeper(cut.state, steps=steps)
    assert_same(train(settings, keeper=rest_keeper), whole)
    assert (list(cut.models), list(rest_keeper.models)) == ([20], [50])
    for step, weights in (cut.models | rest_keeper.models).items():
        kept = whole_keeper.models[step]
        assert all(torch.equal(kept[name], weights[name]) for name in kept)
        assert not torch.equal(kept["0.weight"], whole.weights["0.weight"])
    with pytest.raises(AssertionError):  # the state matters: another one ends elsewhere
        weights = {n: v + 1e-3 for n, v in before.state.items() if n.startswith("weights ")}
        assert_same(train(settings, keeper=Keeper(before.state | weights)), whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_learns(optimizer):
    trained = train(settings_of(optimizer=optimizer, hidden=5))
    assert trained.measured["loss_nats"] < 0.2


def test_gradients_are_clipped_to_a_norm_or_not_at_all():
    free, wide, narrow = (train(settings_of(400, clip_norm=norm)) for norm in (0, 1e9, 1e-3))
    assert_same(free, wide)
    sgd = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    short = settings_of(8, scale=0.0, warmup_fraction=0.0, clip_norm=1e-3, **sgd)
    change = torch.cat([value.reshape(-1) for value in train(short).weights.values()])
    assert float(change.norm()) == pytest.approx(0.1 * 1e-3, rel=1e-4)
    assert narrow.measured["loss_nats"] != free.measured["loss_nats"]


@pytest.mark.parametrize("parts", [2, 3, 8, 100])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(parts):
    whole, divided = (
        train(settings_of(n_examples=400, optimizer="sgd", accumulate=n)) for n in (1, parts)
    )
    for name, value in whole.weights.items():
        torch.testing.assert_close(divided.weights[name], value, rtol=1e-4, atol=1e-5)
    curves = [[point["loss_nats"] for point in run.measured["curve"]] for run in (whole, divided)]
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_parts_of_a_batch_are_learned_one_after_the_other():
    class Counted(Images):
        sizes = ()

        def learn(self, model, items, share=1.0):
            self.sizes = (*self.sizes, (len(items), share))
            return super().learn(model, items, share)

    task = Counted()
    train(settings_of(n_examples=8, accumulate=3), task)
    assert task.sizes == ((3, 3 / 8), (3, 3 / 8), (2, 2 / 8))


def test_parameters_that_need_no_gradient_stay_and_are_neither_weights_nor_state(monkeypatch):
    modules, build = [], Model.build

    def recorded(model, rng):
        modules.append(build(model, rng))
        modules.append(copy.deepcopy(modules[0]))
        return modules[0]

    monkeypatch.setattr(Model, "build", recorded)
    keeper = Keeper(at=10, steps=(5,))
    with pytest.raises(KeyboardInterrupt):
        train(settings_of(hidden=5, frozen=True), keeper=keeper)
    trained, first = (module.state_dict() for module in modules)
    unchanged = {name for name in first if torch.equal(trained[name], first[name])}
    assert unchanged == {"0.weight", "0.bias"}
    assert set(keeper.models[5]) == {"3.weight", "3.bias"}
    weights = {name for name in keeper.state if name.startswith("weights ")}
    assert weights == {"weights 3.weight", "weights 3.bias"}
    moments = [keeper.state[f"optimizer {name}"] for name in ("mean", "square")]
    assert [len(moment) for moment in moments] == [3 * 5 + 3] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_a_run_with_step_loss_and_norm(value):
    class Spoiled(Images):
        steps = 0

        def learn(self, model, items, share=1.0):
            loss = super().learn(model, items, share)
            self.steps += 1
            if self.steps == 7:
                model.bias.grad[0] = value
            return loss

    message = rf"not finite at step 7 of 10: loss 0\.\d+ nats, norm of the gradient {value}"
    with pytest.raises(DivergedError, match=message):
        train(settings_of(n_examples=80), Spoiled())


def test_a_loss_worse_than_a_guess_has_diverged():
    with pytest.raises(DivergedError, match=r"guessing has 1\.1"):
        train(settings_of(n_examples=8, scale=50.0))
    with pytest.raises(DivergedError, match="not finite at step 1 of 1"):
        train(settings_of(n_examples=8, scale=1e38))


def test_a_model_that_has_learned_nothing_or_its_training_data_by_heart_has_not_diverged():
    still = train(settings_of(n_examples=80, scale=0.0, peak_learning_rate=1e-12))
    guess = Images().guess
    assert still.measured["loss_nats"] == pytest.approx(guess, rel=1e-6)
    task = Images()
    task.evaluate = lambda model: (3 * guess, [])  # of data that it has not seen
    assert train(settings_of(), task).measured["loss_nats"] == 3 * guess


def test_optimiser_settings_share_the_draws_of_a_run_and_sizes_do_not():
    def noise(**changes):
        settings = settings_of(**changes)
        return builtin.noise_of(model_of(CARD, settings | Images().shapes), settings)

    assert noise() == noise(peak_learning_rate=0.2, weight_decay=0.0)
    assert len({noise(), noise(scale=0.2), noise(seed=1), noise(n_examples=80)}) == 4

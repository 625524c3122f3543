"""The sampler of the local posterior: its update, its chains, its masks, and exact values."""

from __future__ import annotations

import itertools
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from isoloss.core.problems import IsolossError
from isoloss.models import mlp, transformer
from isoloss.posterior import health
from isoloss.posterior.model_potential import ModelPotential
from isoloss.posterior.potential import FunctionPotential
from isoloss.posterior.sampler import sample
from isoloss.posterior.settings import Settings

CURVATURES = torch.linspace(0.2, 1.0, 10)


class Regression:
    """A linear regression: item i has inputs x_i, target y_i and the loss (x_i w - y_i)^2 / 2.

    Args:
        n_items: how many items there are.
        spoiled: chain whose losses are NaN from the given call of `learn` on.
    """

    def __init__(self, n_items: int = 50, spoiled: tuple[int, int] | None = None) -> None:
        rng = torch.Generator().manual_seed(3)
        self.inputs = torch.randn(n_items, 7, generator=rng)
        self.start = torch.linspace(-1, 1, 7)
        self.targets = self.inputs @ self.start + 0.1 * torch.randn(n_items, generator=rng)
        self.names = {"a": slice(0, 3), "b": slice(3, 5), "c": slice(5, 7)}
        self.n_items = n_items
        self.spoiled = spoiled
        self.calls = 0

    def errors(self, weights, items):
        inputs = self.inputs[items]
        products = [inputs[:, :, i] * weights[:, None, i] for i in range(7)]
        return inputs, sum(products) - self.targets[items]

    def learn(self, weights, gradient, items):
        inputs, errors = self.errors(weights, items)
        for i in range(7):
            gradient[:, i] = (errors * inputs[:, :, i]).mean(1)
        losses = errors**2 / 2
        if self.spoiled and self.calls >= self.spoiled[1] and len(losses) > self.spoiled[0]:
            losses[self.spoiled[0]] = float("nan")
            gradient[self.spoiled[0]] = float("nan")
        self.calls += 1
        return losses

    def losses(self, weights, items):
        return self.errors(weights, items)[1] ** 2 / 2


def quadratic(curvatures: torch.Tensor = CURVATURES) -> FunctionPotential:
    return FunctionPotential(
        lambda weights: weights**2 @ curvatures / 2,
        torch.zeros(len(curvatures)),
        gradient=lambda weights: weights * curvatures,
    )


def settings(**given) -> Settings:
    return Settings(**{"lr": 1e-3, "n_beta": 30.0, "num_draws": 100, "batch_size": 8, **given})


def by_hand(potential: Regression, given: Settings, noise, orders, chain: int) -> np.ndarray:
    """The losses of a chain by the formulas, one weight at a time in double precision."""
    start = potential.start.double()
    weights, squares, losses = start.clone(), torch.zeros(7).double(), []
    if given.init_noise:
        weights += given.init_noise * noise(-1)[chain].double()
    batches = orders(chain)
    for step in range(given.num_steps):
        gradient, loss = torch.zeros(7).double(), 0.0
        for _ in range(given.gradient_accumulation_steps):
            items = next(batches)
            inputs = potential.inputs[items].double()
            errors = inputs @ weights - potential.targets[items].double()
            loss += float((errors**2 / 2).mean()) / given.gradient_accumulation_steps
            gradient += inputs.T @ errors / len(items) / given.gradient_accumulation_steps
        losses.append(loss)
        force = given.n_beta * gradient + given.llc_weight_decay * weights
        force += given.localization * (weights - start)
        scale = torch.ones(7).double()
        if given.sampling_method == "rmsprop_sgld":
            squares = given.rmsprop_alpha * squares + (1 - given.rmsprop_alpha) * gradient**2
            scale = 1 / (squares.sqrt() + given.rmsprop_eps)
        spread = given.lr**0.5 * given.noise_level
        weights = weights - given.lr / 2 * scale * force
        weights = weights + spread * scale.sqrt() * noise(step)[chain].double()
        if given.bounding_box_size is not None:
            box = given.bounding_box_size
            weights = weights.clamp(start - box, start + box)
    return np.array(losses)


def injected(step: int) -> torch.Tensor:
    return torch.randn(2, 7, generator=torch.Generator().manual_seed(step + 1))


def in_turn(chain: int):
    rng = torch.Generator().manual_seed(chain)
    while True:
        yield torch.randint(50, (8,), generator=rng)


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"localization": 5.0},
        {"llc_weight_decay": 3.0},
        {"localization": 5.0, "llc_weight_decay": 3.0, "noise_level": 0.5},
        {"bounding_box_size": 0.05},
        {"init_noise": 0.1, "localization": 50.0},
        {"gradient_accumulation_steps": 3},
        {"sampling_method": "rmsprop_sgld", "localization": 2.0},
        {"sampling_method": "rmsprop_sgld", "gradient_accumulation_steps": 2, "rmsprop_eps": 0.5},
        {"num_burnin_steps": 7, "num_steps_bw_draws": 3},
    ],
    ids=str,
)
def test_a_chain_takes_the_steps_of_the_formulas(further):
    potential, given = Regression(), settings(num_chains=2, num_draws=30, **further)
    samples = sample(
        potential,
        given,
        noise=lambda step, out: out.copy_(injected(step)),
        orders=in_turn,
    )
    for chain in range(2):
        expected = by_hand(potential, given, injected, in_turn, chain)
        assert samples.losses[chain] == pytest.approx(expected, rel=1e-4)


def test_the_mean_over_steps_of_a_quadratic_is_exact_at_a_finite_step_size():
    given = settings(n_beta=100.0, num_chains=16, num_draws=2000, localization=1.0)
    force = 100 * CURVATURES.double().numpy() + 1.0
    rest = 1 - given.lr * force / 2
    variance = 1 / (force * (1 - given.lr * force / 4))
    share = 1 - (1 - rest**4000) / (1 - rest**2) / 2000
    exact = float((100 * CURVATURES.numpy() * variance / 2 * share).sum())
    row = health.summary(sample(quadratic(), given))
    assert abs(row["llc_mean"] - exact) < 4 * row["llc_se"]
    assert row["llc_se"] < 0.02 * exact
    assert row["status"] == "ok"


@pytest.mark.parametrize("further", [{}, {"sampling_method": "rmsprop_sgld"}], ids=str)
def test_a_chain_does_not_depend_on_how_many_others_there_are(further):
    of_four = sample(Regression(), settings(localization=2.0, init_noise=0.01, **further))
    for chains in (1, 2):
        fewer = sample(
            Regression(), settings(localization=2.0, init_noise=0.01, num_chains=chains, **further)
        )
        assert np.array_equal(fewer.losses, of_four.losses[:chains])
        assert np.array_equal(fewer.paired, of_four.paired[:chains])
        assert np.array_equal(fewer.distances, of_four.distances[:chains])


def test_a_chain_that_fails_stops_and_leaves_the_others_as_they_are():
    whole = sample(Regression(), settings())
    spoiled = sample(Regression(spoiled=(1, 40)), settings())
    assert spoiled.failed_at.tolist() == [-1, 40, -1, -1]
    assert np.array_equal(spoiled.losses[1, :40], whole.losses[1, :40])
    assert np.isnan(spoiled.losses[1, 40:]).all()
    assert np.isnan(spoiled.paired[1, 40:]).all()
    others = [0, 2, 3]
    assert np.array_equal(spoiled.losses[others], whole.losses[others])
    assert np.array_equal(spoiled.distances[others], whole.distances[others])


def perceptron() -> ModelPotential:
    rng = np.random.default_rng(0)
    module = mlp.Model(20, 1, 1.0, 12, 10).build(rng)
    inputs = torch.from_numpy(rng.random((60, 12), dtype=np.float32))
    return ModelPotential(module, inputs, torch.from_numpy(rng.integers(0, 10, 60)))


def byte_model() -> ModelPotential:
    rng = np.random.default_rng(0)
    module = transformer.Model(8, 1, 4, 6, 11).build(rng)
    tokens = torch.from_numpy(rng.integers(0, 11, (60, 7)))
    return ModelPotential(module, tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("potential", [perceptron, byte_model])
def test_a_chain_of_a_model_depends_on_no_other_one_that_fails_included(potential):
    def noise(step, out, bad=False):
        rows = [
            torch.Generator().manual_seed(100 * step + chain + 101) for chain in range(len(out))
        ]
        for row, generator in zip(out, rows, strict=True):
            row.normal_(generator=generator)
        if bad and step == 10:
            out[1, 5] = float("inf")

    given = {"num_draws": 30, "localization": 1.0}
    whole = sample(potential(), settings(**given), noise=noise)
    assert (whole.failed_at == -1).all()
    for chains in (1, 2):
        fewer = sample(potential(), settings(num_chains=chains, **given), noise=noise)
        assert np.array_equal(fewer.losses, whole.losses[:chains])
    spoiled = sample(potential(), settings(**given), noise=partial(noise, bad=True))
    assert spoiled.failed_at.tolist() == [-1, 11, -1, -1]
    others = [0, 2, 3]
    assert np.array_equal(spoiled.losses[others], whole.losses[others])
    assert np.array_equal(spoiled.losses[1, :11], whole.losses[1, :11])
    assert np.isnan(spoiled.losses[1, 11:]).all()


def test_a_result_does_not_depend_on_the_type_that_torch_makes_tensors_of():
    potential, given = perceptron(), settings(num_draws=5)
    as_usual = sample(potential, given).losses
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(sample(potential, given).losses, as_usual)
    finally:
        torch.set_default_dtype(torch.float32)


def test_all_chains_may_fail():
    samples = sample(Regression(), settings(lr=1e6, num_draws=300))
    assert (samples.failed_at > 0).all()
    row = health.summary(samples)
    assert row["status"] == "failed"
    assert row["chains_failed"] == 4
    assert np.isnan(row["llc_mean"])


def test_weights_that_do_not_move_have_a_coefficient_of_0():
    for potential in (quadratic(), Regression()):
        row = health.summary(sample(potential, settings(lr=0.0, n_beta=1000.0)))
        assert abs(row["llc_mean"]) < 1e-4
        assert row["distance"] == 0
        assert (row["status"], "the weights did not move" in row["status_reason"]) == ("warn", True)


def test_twice_the_loss_at_half_the_inverse_temperature_is_the_same():
    once = sample(quadratic(), settings())
    twice = sample(quadratic(2 * CURVATURES), settings(n_beta=15.0))
    assert 2 * once.losses == pytest.approx(twice.losses, rel=1e-5, abs=1e-9)


def test_only_what_the_masks_name_is_sampled():
    potential, given = Regression(), settings(num_chains=2, num_draws=20, localization=3.0)
    seen = []
    learn = potential.learn
    potential.learn = lambda weights, *rest: seen.append(weights.clone()) or learn(weights, *rest)
    masks = {"c": None, "a": torch.tensor([True, False, True])}
    samples = sample(potential, given, masks=masks)
    moved = (seen[-1] != potential.start).any(0)
    assert moved.tolist() == [True, False, True, False, False, True, True]
    assert samples.n_sampled == 4


def test_a_model_whose_further_parameters_are_frozen_is_the_smaller_model():
    larger = FunctionPotential(
        lambda weights: weights[:, 4:].pow(2) @ CURVATURES / 2 + 1.0,
        torch.zeros(14),
        names={"frozen": slice(0, 4), "free": slice(4, 14)},
    )
    masked = health.summary(sample(larger, settings(), masks={"free": None}))
    alone = health.summary(sample(quadratic(), settings()))
    assert masked["llc_mean"] == pytest.approx(alone["llc_mean"], rel=1e-3)
    assert masked["n_sampled"] == alone["n_sampled"] == 10


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"d": None}, r"masks\['d'\]: there is no trained parameter of this name; known: a, b, c"),
        ({"a": torch.ones(2)}, r"masks\['a'\]: has 2 values, and the parameter 3"),
        ({"a": torch.full((3,), 0.5)}, r"masks\['a'\]: has values other than 0 and 1"),
        ({"a": torch.zeros(3)}, "masks: no weight is sampled"),
        ({}, "masks: no weight is sampled"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(masks, message):
    with pytest.raises(IsolossError, match=message):
        sample(Regression(), settings(), masks=masks)


class Recorder(Regression):
    """A regression that keeps the items that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.at_start = [], []

    def learn(self, weights, gradient, items):
        self.items.append(items.clone())
        return super().learn(weights, gradient, items)

    def losses(self, weights, items):
        self.at_start.append(items.clone())
        return super().losses(weights, items)


def test_each_chain_goes_through_the_items_in_an_order_of_its_own():
    potential = Recorder()
    sample(potential, settings(num_draws=12))
    items = torch.stack(potential.items)  # steps, chains, batch; an epoch has 6 batches of 8
    for chain in range(4):
        for epoch in (items[:6, chain], items[6:, chain]):
            assert len(epoch.unique()) == 48
    orders = [items[at, chain].tolist() for at in (0, 6) for chain in range(4)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))


@pytest.mark.parametrize(("num_draws", "measured"), [(1, 1), (25, 25), (26, 13), (200, 25)])
def test_the_distance_of_draws_that_are_evenly_spread_is_measured(num_draws, measured):
    potential, weights = Regression(), []
    learn = potential.learn
    potential.learn = lambda w, *rest: weights.append(w.clone()) or learn(w, *rest)
    given = settings(num_draws=num_draws, num_steps_bw_draws=2, num_burnin_steps=3)
    samples = sample(potential, given)
    assert samples.distances.shape == (4, measured)
    after_last = given.draws[-1] + 1  # the weights after a step are those of the next one
    expected = (weights[after_last] - potential.start).norm(dim=1)
    assert samples.distances[:, -1] == pytest.approx(expected.numpy(), rel=1e-5)


def test_chains_may_see_the_same_batches():
    potential = Recorder()
    samples = sample(potential, settings(num_draws=12, match_batches=True))
    items = torch.stack(potential.items)
    assert (items == items[:, :1]).all()
    assert (samples.paired == samples.paired[0]).all()
    assert not (samples.losses[1:, 1:] == samples.losses[0, 1:]).any()


def test_batches_that_end_are_refused():
    with pytest.raises(IsolossError, match="orders: batches of a chain end 20 short"):
        sample(
            Regression(), settings(num_draws=50), orders=lambda chain: islice(in_turn(chain), 30)
        )


def test_items_come_as_they_stand_without_a_shuffle():
    potential = Recorder()
    sample(potential, settings(num_draws=7, shuffle=False))
    items = torch.stack(potential.items)
    assert items[:, 3].flatten().tolist() == [*range(48), *range(8)]


def test_the_loss_of_the_trained_weights_is_computed_once_for_an_item():
    potential = Recorder()
    samples = sample(potential, settings(num_draws=100))
    asked = torch.cat([items.flatten() for items in potential.at_start])
    assert len(asked.unique()) == 50
    assert len(asked) < 100
    losses = potential.losses(potential.start[None], torch.arange(50)[None])[0].numpy()
    items = torch.stack(potential.items).numpy()
    expected = losses[items].mean(axis=2, dtype=np.float64).T
    assert samples.paired == pytest.approx(expected, rel=1e-5)
    assert samples.init_loss == pytest.approx(losses.mean(), rel=0.05)


def test_more_items_in_a_batch_than_there_are_mean_all_of_them():
    samples = sample(Regression(n_items=5), settings(batch_size=99))
    assert samples.losses[:, 0] == pytest.approx(samples.paired[:, 0], rel=1e-5)
    assert samples.init_loss_se == 0

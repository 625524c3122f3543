"""The sampler measures learning coefficients that are known exactly."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from known_losses import (
    DeepLinear,
    KnownLoss,
    Monomial,
    NoisyQuadratic,
    Quadratic,
    Tanh,
    true_llc_of_deep_linear,
    true_llc_of_tanh,
)

from isoloss.posterior import exact
from isoloss.posterior.health import chain_rows, summary
from isoloss.posterior.model_potential import ModelPotential
from isoloss.posterior.sampler import Samples, sample
from isoloss.posterior.settings import Settings

CURVATURES = [0.0, 0.2, 0.5, 1.0, 2.0]


def measured(potential: KnownLoss, settings: Settings, **options) -> tuple[float, float]:
    """LLC after the burn-in, and its standard error from the spread of the chains."""
    samples = sample(potential, settings, **options)
    chains = chain_rows(samples)["llc"]
    llc = summary(samples)["llc_mean"]
    assert llc == pytest.approx(chains.mean())
    return llc, chains.std(ddof=1) / math.sqrt(len(chains))


def one_item(**settings) -> Settings:
    """Settings for a population loss: a batch is its one item."""
    return Settings(**{"batch_size": 1, "num_chains": 64, **settings})


SGLD = {
    "from the first step": {"lr": 1e-4, "num_draws": 2000},
    "localized": {"lr": 1e-4, "num_draws": 1000, "localization": 200.0},
    "after a burn-in": {"lr": 1e-3, "num_draws": 1000, "num_burnin_steps": 300},
    "long steps": {"lr": 3e-3, "num_draws": 1000},
    "longer than the curvature allows to be monotone": {"lr": 8e-3, "num_draws": 1000},
    "several steps a draw": {"lr": 1e-3, "num_draws": 200, "num_steps_bw_draws": 5},
    "several batches a step": {"lr": 1e-3, "num_draws": 500, "gradient_accumulation_steps": 3},
    "decay of weights": {"lr": 1e-3, "num_draws": 1000, "llc_weight_decay": 40.0},
    "decay and localized": {
        "lr": 1e-3,
        "num_draws": 1000,
        "llc_weight_decay": 40.0,
        "localization": 60.0,
    },
    "cold noise": {"lr": 1e-3, "num_draws": 1000, "noise_level": 0.3},
    "noise at the start": {"lr": 3e-4, "num_draws": 1000, "init_noise": 0.3},
}


@pytest.mark.parametrize("changes", SGLD.values(), ids=SGLD)
def test_a_quadratic_loss_at_its_step_size(changes):
    start = 0.7
    settings = one_item(n_beta=100.0, num_chains=256, **changes)
    llc, error = measured(Quadratic(CURVATURES, start), settings)
    expected = exact.quadratic(CURVATURES, settings, start)
    assert abs(llc - expected) < 4 * error
    assert error < 0.05 * expected


def test_the_formula_is_the_published_one_after_a_burn_in():
    settings = one_item(n_beta=100.0, lr=1e-3, localization=30.0, num_burnin_steps=10**4)
    h = np.array(CURVATURES)
    a = 100 * h + 30
    stationary = (100 * h / (a * (1 - 1e-3 * a / 4))).sum() / 2
    assert exact.quadratic(h, settings) == pytest.approx(stationary)


def test_the_formula_counts_the_start():
    settings = one_item(n_beta=100.0, lr=1e-3, num_draws=2)
    first_step = 100 * np.sum(CURVATURES) * 1e-3 / 2
    assert exact.quadratic(CURVATURES, settings) == pytest.approx(first_step / 2)


@pytest.mark.parametrize("changes", [{"lr": 0.03}, {"sampling_method": "rmsprop_sgld"}])
def test_the_formula_refuses_what_it_does_not_hold_for(changes):
    with pytest.raises(ValueError, match=r"curvature|formula"):
        exact.quadratic(CURVATURES, one_item(**{"n_beta": 100.0, "lr": 1e-3, **changes}))


@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_heat_of_batches_is_what_they_add_to_the_noise(accumulated):
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    h, lr, n_beta, batch = np.array([0.5, 1.0, 2.0]), 1e-3, 500.0, 4
    settings = Settings(
        lr=lr,
        n_beta=n_beta,
        num_chains=2000,
        num_draws=1,
        batch_size=batch,
        gradient_accumulation_steps=accumulated,
    )
    samples = sample(NoisyQuadratic(h.tolist(), x), settings)
    kick = (lr / 2 * n_beta * h) ** 2 * x.var(0, correction=0).numpy() / (batch * accumulated)
    assert samples.batch_heat == pytest.approx((kick**2).sum() / kick.sum() / lr, rel=0.15)
    alone = sample(NoisyQuadratic(h.tolist(), x), replace(settings, match_batches=True))
    assert math.isnan(alone.batch_heat)


@pytest.mark.parametrize("accumulated", [1, 4])
def test_noise_of_batches_adds_its_variance_to_the_weights(accumulated):
    """Independent batches: each step adds lr + (lr/2 n_beta h)^2 var(x) / (items of a step)."""
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    h = np.array([0.5, 1.0, 2.0])
    lr, n_beta, batch = 1e-3, 500.0, 4
    settings = Settings(
        lr=lr,
        n_beta=n_beta,
        num_chains=64,
        num_draws=300,
        num_burnin_steps=30,
        batch_size=batch,
        gradient_accumulation_steps=accumulated,
    )

    def batches(chain):
        generator = torch.Generator().manual_seed(chain)
        while True:
            yield from torch.randint(500, (1000, batch), generator=generator)

    llc, error = measured(NoisyQuadratic(h.tolist(), x), settings, orders=batches)
    rho = 1 - lr * n_beta * h / 2
    kick = (lr / 2 * n_beta * h) ** 2 * x.var(0, correction=0).numpy() / (batch * accumulated)
    expected = (n_beta * h / 2 * (lr + kick) / (1 - rho**2)).sum()
    assert abs(llc - expected) < 4 * error
    assert kick.sum() > 0.5 * lr  # enough to be seen
    assert error < 0.05 * expected


@pytest.mark.parametrize(
    ("powers", "changes"),
    [
        ((4,), {"n_beta": 1000.0, "lr": 4e-4, "num_draws": 2000, "num_burnin_steps": 300}),
        ((6,), {"n_beta": 1000.0, "lr": 4e-4, "num_draws": 2000, "num_burnin_steps": 300}),
        ((2, 2), {"n_beta": 20.0, "lr": 1e-3, "num_draws": 2500, "num_burnin_steps": 2500}),
    ],
)
def test_monomials_at_their_temperature(powers, changes):
    settings = one_item(localization=1.0, num_chains=256, **changes)
    llc, error = measured(Monomial(powers), settings)
    expected = exact.monomial_at(powers, settings.n_beta, settings.localization)
    assert abs(llc - expected) < max(4 * error, 0.08 * expected)
    assert error < 0.03 * expected


def test_half_the_temperature_of_twice_the_loss_is_the_same_bit_for_bit():
    settings = one_item(lr=1e-4, n_beta=1000.0, num_chains=4, num_draws=300, localization=1.0)
    once = sample(Quadratic([0.5, 1.0]), settings)
    twice = sample(Quadratic([1.0, 2.0]), replace(settings, n_beta=500.0))
    np.testing.assert_array_equal(2 * once.losses, twice.losses)
    assert summary(once)["llc_mean"] == summary(twice)["llc_mean"] > 0


class OneNoise:
    """The same standard normals for a model and for its parts."""

    def __init__(self, chains: int, size: int, places: torch.Tensor | slice):
        self.shape, self.places = (chains, size), places

    def __call__(self, step: int, out: torch.Tensor) -> None:
        generator = torch.Generator().manual_seed(step + 10)
        out.copy_(torch.randn(self.shape, generator=generator)[:, self.places])


def test_a_masked_model_is_the_smaller_model():
    """Hidden unit 3 of 4-3-4 is switched off: what is left is 4-2-4, from the same start."""
    large, small = DeepLinear([4, 3, 4], 1), DeepLinear([4, 2, 4], 1)
    inward, outward = torch.ones(3, 4, dtype=bool), torch.ones(4, 3, dtype=bool)
    inward[2], outward[:, 2] = False, False
    masks = {"layers.0.weight": inward, "layers.1.weight": outward}
    kept = torch.cat([inward.flatten(), outward.flatten()])
    settings = one_item(lr=1e-4, n_beta=1000.0, num_chains=4, num_draws=300, localization=1.0)
    size = len(large.start)
    masked = sample(large, settings, masks=masks, noise=OneNoise(4, size, slice(None)))
    whole = sample(small, settings, noise=OneNoise(4, size, kept))
    np.testing.assert_allclose(masked.losses, whole.losses, rtol=1e-3, atol=1e-6)
    assert masked.n_sampled == whole.n_sampled == len(small.start)
    assert summary(whole)["llc_mean"] > 1


def test_parameters_without_a_mask_are_frozen():
    """With B = 0 frozen the product stays 0; with B at a true rank 1, A's first row is regular."""
    settings = one_item(lr=5e-5, n_beta=1000.0, num_chains=32, num_draws=3000, localization=1.0)
    still, _ = measured(DeepLinear([4, 2, 4], 0), settings, masks={"layers.0.weight": None})
    assert still == 0
    llc, error = measured(DeepLinear([4, 2, 4], 1), settings, masks={"layers.0.weight": None})
    expected = exact.quadratic([1.0] * 4, settings)
    assert abs(llc - expected) < 4 * error


class Explosive(Quadratic):
    """A quadratic loss that is not a number in one chain from its fifth evaluation on."""

    def __init__(self, curvatures, chain):
        super().__init__(curvatures)
        self.chain, self.calls = chain, 0

    def learn(self, weights, gradient, items):
        losses = super().learn(weights, gradient, items).clone()
        self.calls += 1
        if self.calls >= 5:
            losses[self.chain] = gradient[self.chain] = math.nan
        return losses


def test_a_chain_that_fails_is_left_out_whole():
    settings = one_item(lr=1e-3, n_beta=100.0, num_chains=5, num_draws=200)
    without = chain_rows(sample(Quadratic(CURVATURES), settings))["llc"]
    one_fails = sample(Explosive(CURVATURES, chain=1), settings)
    rows = chain_rows(one_fails)
    assert rows["status"].tolist() == ["ok", "failed", "ok", "ok", "ok"]
    assert rows["failed_step"].fillna(-1).tolist() == [-1, 4, -1, -1, -1]
    assert rows["llc"].isna().tolist() == [False, True, False, False, False]
    assert summary(one_fails)["llc_mean"] == pytest.approx(without.drop(1).mean(), rel=1e-12)


def test_chains_differ_in_noise():
    settings = one_item(lr=1e-3, n_beta=100.0, num_chains=2, num_draws=20)
    samples = sample(Quadratic(CURVATURES), settings)
    assert (samples.losses[0, 1:] != samples.losses[1, 1:]).all()
    other = sample(Quadratic(CURVATURES), replace(settings, init_seed=7))
    assert (samples.losses[:, 1:] != other.losses[:, 1:]).all()


@pytest.mark.parametrize("method", ["sgmcmc_sgld", "rmsprop_sgld"])
def test_without_steps_the_coefficient_is_zero(method):
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    settings = Settings(lr=0.0, n_beta=1e6, num_draws=30, batch_size=8, sampling_method=method)
    row = summary(sample(NoisyQuadratic([0.5, 1.0, 2.0], x), settings))
    assert row["llc_mean"] == row["llc_paired"] == 0


def test_more_singular_points_have_smaller_coefficients():
    settings = one_item(
        lr=1e-4, n_beta=1000.0, localization=1.0, num_draws=400, num_burnin_steps=200
    )
    by_rank = [measured(DeepLinear([4, 3, 4], rank), settings) for rank in (0, 1, 2, 3)]
    coefficients = [exact.reduced_rank(4, 3, 4, rank)[0] for rank in (0, 1, 2, 3)]
    assert coefficients == sorted(coefficients)
    settings = replace(settings, lr=3e-4, num_chains=128)
    by_power = [measured(Monomial([power]), settings) for power in (6, 4, 2)]
    for rising in (by_rank, by_power):
        for (less, its_error), (more, other_error) in pairwise(rising):
            assert more - less > 4 * math.hypot(its_error, other_error)


def groups_of(samples: Samples, size: int) -> list[Samples]:
    """The chains of a sampler as if they came from several, each of so many chains."""
    settings = replace(samples.settings, num_chains=size)
    cuts = [slice(i, i + size) for i in range(0, len(samples.losses), size)]
    return [
        replace(
            samples,
            losses=samples.losses[cut],
            paired=samples.paired[cut],
            distances=samples.distances[cut],
            failed_at=samples.failed_at[cut],
            settings=settings,
        )
        for cut in cuts
    ]


def test_standard_errors_cover():
    """64 measurements of 8 chains each: their errors are those that llc_se says."""
    settings = one_item(lr=1e-3, n_beta=100.0, num_chains=512, num_draws=400, num_burnin_steps=100)
    samples = sample(Quadratic(CURVATURES), settings)
    rows = [summary(group) for group in groups_of(samples, 8)]
    expected = exact.quadratic(CURVATURES, settings)
    scores = np.array([(row["llc_mean"] - expected) / row["llc_se"] for row in rows])
    assert np.mean(np.abs(scores) < 2.36) > 0.85  # 95 % of Student's t, 7 degrees of freedom
    assert 0.7 < scores.std() < 1.5  # errors that are too large would be as wrong
    assert abs(scores.mean()) < 0.5


def test_two_steps_of_one_chain_have_no_known_error():
    row = summary(
        sample(Quadratic(CURVATURES), one_item(lr=1e-3, n_beta=100.0, num_chains=1, num_draws=2))
    )
    assert row["llc_mean"] > 0
    assert math.isnan(row["llc_se"]) and math.isnan(row["ess"])


def truncated_square(a: float, box: float) -> float:
    """E w^2 of the density exp(-a w^2 / 2) between -box and box."""
    w = np.linspace(-box, box, 20001)
    density = np.exp(-a * w**2 / 2)
    return float((w**2 * density).sum() / density.sum())


def test_a_box_cuts_the_posterior_off():
    box, n_beta, h = 0.05, 100.0, 1.0
    settings = one_item(
        lr=2e-6,
        n_beta=n_beta,
        num_draws=6000,
        num_burnin_steps=2000,
        bounding_box_size=box,
    )
    llc, _ = measured(Quadratic([h] * 8), settings)
    expected = 8 * n_beta * h / 2 * truncated_square(n_beta * h, box)
    assert expected < 0.4 * 8 / 2  # the box cuts most of it off
    assert abs(llc - expected) < 0.1 * expected  # a step that ends outside adds 3 %


def rmsprop_at_once(h: float, n_beta: float, eps: float) -> float:
    """The LLC of RMSprop-SGLD that forgets at once, one coordinate, as lr goes to 0.

    Its steps are those of dw = -G U'/2 dt + sqrt(G) dB. The stationary law of that is exp(-U) / G
    and not exp(-U): the term that corrects for the slope of G is left out. G = 1/(h |w| + eps).
    """
    spread = 1 / math.sqrt(n_beta * h)
    one, three = (math.sqrt(2 / math.pi) * k * spread**p for k, p in ((1, 1), (2, 3)))
    return n_beta * h / 2 * (h * three + eps * spread**2) / (h * one + eps)


@pytest.mark.parametrize("eps", [0.03, 0.1])
def test_rmsprop_that_forgets_at_once_samples_another_law(eps):
    settings = one_item(
        lr=2e-5,
        n_beta=100.0,
        sampling_method="rmsprop_sgld",
        rmsprop_alpha=0.0,
        rmsprop_eps=eps,
        num_draws=5000,
        num_burnin_steps=1000,
    )
    llc, error = measured(Quadratic([1.0] * 8), settings)
    expected = 8 * rmsprop_at_once(1.0, 100.0, eps)
    assert expected > 1.2 * exact.regular(8)[0]
    assert abs(llc - expected) < max(4 * error, 0.05 * expected)


def test_rmsprop_that_remembers_long_samples_the_posterior():
    """Its v settles at E g^2 = h^2 V, and each coordinate is SGLD with the step size lr G."""
    lr, n_beta, localization = 2e-4, 100.0, 20.0
    settings = one_item(
        lr=lr,
        n_beta=n_beta,
        localization=localization,
        sampling_method="rmsprop_sgld",
        rmsprop_alpha=0.999,
        num_draws=2000,
        num_burnin_steps=3000,
    )
    h = np.array([0.5, 1.0, 2.0])
    llc, error = measured(Quadratic(h.tolist()), settings)
    a = n_beta * h + localization
    variance = 1 / a
    for _ in range(50):
        step = lr / (h * np.sqrt(variance) + settings.rmsprop_eps)
        variance = 1 / (a * (1 - step * a / 4))
    expected = (n_beta * h * variance).sum() / 2
    assert abs(llc - expected) < max(4 * error, 0.03 * expected)
    assert expected == pytest.approx((n_beta * h / a).sum() / 2, rel=0.05)


def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets) ** 2 / 2  # of each output; their mean is the loss of an item


def test_linear_regression_of_a_module_has_half_its_parameters():
    """Its loss is quadratic, with the curvature of the inputs for each output and the bias."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=rng), torch.randn(40, 2, generator=rng)
    with_one = torch.cat([x, torch.ones(40, 1)], 1)
    solution = torch.linalg.lstsq(with_one, y).solution
    module = torch.nn.Linear(3, 2)
    module.load_state_dict({"weight": solution[:3].T, "bias": solution[3]})
    curvatures = torch.linalg.eigvalsh(with_one.T @ with_one / 40 / 2).repeat(2).tolist()
    settings = Settings(
        lr=3e-5, n_beta=1e4, num_chains=8, num_draws=400, num_burnin_steps=50, batch_size=40
    )
    llc, error = measured(ModelPotential(module, x, y, loss_fn=squared_error), settings)
    assert abs(llc - exact.quadratic(curvatures, settings)) < 4 * error
    assert llc == pytest.approx(float(exact.regular(8)[0]), rel=0.15)  # steps of this size add 4 %


@pytest.mark.slow
def test_softmax_regression_has_half_its_parameters_but_one_class():
    """One number may be added to all classes' weights of an input: 2 x 5 of 15 directions bend."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 4, generator=rng), torch.randint(0, 3, (300,), generator=rng)
    module = torch.nn.Linear(4, 3)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=500, tolerance_grad=1e-7)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    settings = Settings(
        lr=3e-6, n_beta=1e5, num_chains=16, num_draws=3000, num_burnin_steps=300, batch_size=300
    )
    llc, error = measured(ModelPotential(module, x, y), settings)
    assert error < 0.1
    assert llc == pytest.approx(float(exact.regular(10)[0]), rel=0.05)


LINEAR = [
    ((5, 3, 5), 0),
    ((5, 4, 5), 0),
    ((4, 3, 8), 0),
    ((5, 3, 5), 2),
    ((6, 3, 6), 3),
    ((4, 2, 4), 1),
    ((5, 2, 2, 5), 2),
    ((4, 3, 3, 4), 1),
]


def check(name, potential, settings, exactly, at_n_beta):
    """Measure, print a row of the table in docs/llc.md, and compare."""
    began = time.process_time()
    llc, error = measured(potential, settings)
    seconds = time.process_time() - began
    coefficient, multiplicity = exactly
    off = llc / at_n_beta - 1
    print(
        f"| {name} | {multiplicity} | {coefficient} | {at_n_beta:.3f} | {llc:.3f} ± {error:.3f} "
        f"| {off:+.1%} | {llc / float(coefficient) - 1:+.1%} | {seconds:.0f} |",
    )
    assert abs(llc - at_n_beta) < max(4 * error, 0.04 * at_n_beta)
    if multiplicity == 1:
        assert llc == pytest.approx(float(coefficient), rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(("widths", "rank"), LINEAR)
def test_linear_networks(widths, rank):
    settings = one_item(
        n_beta=1000.0, localization=1.0, lr=5e-5, num_draws=8000, num_burnin_steps=4000
    )
    at_n_beta = true_llc_of_deep_linear(widths, rank, settings.n_beta, settings.localization)
    name = f"{'-'.join(map(str, widths))}, rank {rank}"
    exactly = exact.deep_linear(widths, rank)
    check(name, DeepLinear(widths, rank), settings, exactly, at_n_beta)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "n_beta", "lr"), [(1, 1e3, 1e-4), (2, 3e3, 5e-5), (3, 3e3, 5e-5)]
)
def test_tanh_networks(hidden, n_beta, lr):
    settings = one_item(
        n_beta=n_beta,
        lr=lr,
        localization=1.0,
        num_chains=256,
        num_draws=30_000,
        num_burnin_steps=30_000,
    )
    at_n_beta = true_llc_of_tanh(hidden, n_beta, settings.localization)
    exactly = exact.tanh_one_input(hidden)
    check(f"tanh, {hidden} hidden", Tanh(hidden), settings, exactly, at_n_beta)

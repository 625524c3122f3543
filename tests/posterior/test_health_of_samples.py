"""The LLC of samples, its error, and the reasons to doubt it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isoloss.posterior import health
from isoloss.posterior.sampler import Samples
from isoloss.posterior.settings import Settings


def noise(chains: int = 4, steps: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chains, steps))


def samples_of(
    differences: np.ndarray, n_sampled: int = 1000, failed: dict[int, int] | None = None, **given
) -> Samples:
    """Samples whose losses are so far above those of the trained weights, which are 2 and 3."""
    chains, steps = differences.shape
    burnin = given.pop("num_burnin_steps", 0)
    settings = Settings(
        **{"lr": 1e-4, "n_beta": 10.0, "num_chains": chains, "num_burnin_steps": burnin},
        num_draws=steps - burnin,
        **given,
    )
    paired = 2.5 + 0.5 * np.sign(noise(chains, steps, seed=9))
    losses = paired + differences
    failed_at = np.full(chains, -1)
    for chain, step in (failed or {}).items():
        failed_at[chain] = step
        losses[chain, step:] = paired[chain, step:] = np.nan
    return Samples(
        losses=losses,
        paired=paired,
        init_loss=2.4,
        init_loss_se=0.05,
        distances=np.where(failed_at[:, None] >= 0, np.nan, np.arange(chains)[:, None] + 1.0),
        batch_heat=0.1,
        failed_at=failed_at,
        settings=settings,
        n_items=500,
        n_sampled=n_sampled,
    )


def test_the_llc_is_the_mean_rise_of_the_loss_after_burn_in_times_n_beta():
    differences = 0.5 + 0.1 * noise()
    differences[:, :100] = 0.0
    samples = samples_of(differences, num_burnin_steps=100)
    row = health.summary(samples)
    assert row["llc_mean"] == pytest.approx(10 * differences[:, 100:].mean())
    assert row["llc_with_burnin"] == pytest.approx(10 * differences.mean())
    assert row["llc_paired"] == row["llc_mean"]
    assert row["llc_unpaired"] == pytest.approx(10 * (samples.losses[:, 100:].mean() - 2.4))
    assert row["llc_scalar"] == pytest.approx(10 * (samples.losses.mean() - 2.4))
    assert row["llc_std"] == pytest.approx(10 * differences[:, 100:].mean(axis=1).std())
    assert row["init_loss"] == pytest.approx(samples.paired[:, 100:].mean())
    assert row["distance"] == 2.5
    assert (row["status"], row["status_reason"]) == ("ok", "")
    assert (row["init_loss_kind"], row["n_beta"], row["num_burnin_steps"]) == ("paired", 10.0, 100)


def test_the_initial_loss_of_batches_adds_its_error():
    paired = health.summary(samples_of(0.5 + 0.1 * noise()))
    row = health.summary(samples_of(0.5 + 0.1 * noise(), init_loss="batches"))
    assert row["llc_mean"] == row["llc_unpaired"] == paired["llc_unpaired"]
    assert (row["init_loss"], row["init_loss_se"]) == (2.4, 0.05)
    assert row["llc_se"] > 10 * 0.05 > paired["llc_se"]


def test_a_chain_that_failed_is_left_out_whole():
    differences = 0.5 + 0.1 * noise()
    differences[1] = 1e30
    samples = samples_of(differences, failed={1: 300})
    row = health.summary(samples)
    others = [0, 2, 3]
    assert row["llc_mean"] == pytest.approx(10 * differences[others].mean())
    assert (row["chains_ok"], row["chains_failed"], row["status"]) == (3, 1, "warn")
    assert row["status_reason"] == "1 of 4 chains failed: NaN or infinite loss"
    assert row["distance"] == pytest.approx(8 / 3)
    rows = health.chain_rows(samples)
    assert rows["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert rows["failed_step"].isna().tolist() == [True, False, True, True]
    assert rows["failed_step"][1] == 300
    assert rows.loc[1, ["llc", "llc_with_burnin", "init_loss", "distance"]].isna().all()
    assert rows["llc"][others].mean() == pytest.approx(row["llc_mean"])


def test_without_a_chain_left_nothing_is_known():
    samples = samples_of(0.5 + 0.1 * noise(2), failed={0: 0, 1: 10})
    row = health.summary(samples)
    assert row["status"] == "failed"
    assert row["status_reason"].startswith("2 of 2 chains failed")
    assert row["init_loss"] != row["init_loss"]
    values = ("llc_mean", "llc_std", "llc_se", "llc_scalar", "split_rhat", "ess", "drift")
    assert all(np.isnan(row[name]) for name in (*values, "share_below", "distance"))


def test_traces_have_a_row_a_chain_and_step():
    samples = samples_of(0.5 + 0.1 * noise(2, 6), failed={1: 4})
    rows = health.trace_rows(samples)
    assert rows["chain"].tolist() == [0] * 6 + [1] * 6
    assert rows["step"].tolist() == [*range(6)] * 2
    assert rows["loss"].isna().tolist() == [False] * 10 + [True] * 2
    assert rows["loss"][7] == samples.losses[1, 1]
    assert rows["init_loss"][7] == samples.paired[1, 1]


STEP = np.arange(400)


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        (0.5 + 0.1 * noise() + np.array([[0.0], [0.3], [0.6], [0.9]]), "chains disagree"),
        (0.5 + 0.2 * noise() + STEP / 400, "not settled: the last half of the steps moves the LLC"),
        (0.3 * noise() - 0.01, "not at a minimum: "),
        (0.01 * noise() - 0.5, "the LLC is negative"),
        (0.1 * noise() - noise().mean() / 10 + 0.002, "the LLC may be 0: it is "),
        (1e9 * np.outer([1, 0, 0, 0], STEP == 7), "the LLC may be 0: it is 1.0 times its error"),
        (200 + noise(), "the LLC is above 500, half the weights"),
        (0.5 + 0.1 * noise(4, 8), "few independent draws: about"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_speaks_against_an_llc_is_said(differences, reason):
    row = health.summary(samples_of(differences))
    assert row["status"] == "warn"
    assert reason in row["status_reason"]


def test_a_negative_llc_is_given_as_it_is():
    row = health.summary(samples_of(0.01 * noise() - 0.5))
    assert row["llc_mean"] == pytest.approx(-5, rel=0.01)
    assert row["share_below"] == 1


def test_drift_is_the_slope_of_the_last_half_a_step():
    differences = np.where(STEP < 200, 7.0, 0.001 * STEP) + np.zeros((4, 1))
    assert health.summary(samples_of(differences))["drift"] == pytest.approx(0.001)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("chains", [1, 4])
def test_the_error_of_correlated_steps_is_that_of_their_mean(correlation, chains):
    rng = np.random.default_rng(5)
    means, errors, draws = [], [], []
    for _ in range(200):
        steps = rng.normal(size=(chains, 300))
        for at in range(1, 300):
            steps[:, at] = (
                correlation * steps[:, at - 1] + np.sqrt(1 - correlation**2) * steps[:, at]
            )
        means.append(steps.mean())
        errors.append(health.mean_error(steps))
        draws.append(health.effective_draws(steps))
    expected = np.sqrt((1 + correlation) / (1 - correlation) / steps.size)
    assert np.std(means) == pytest.approx(expected, rel=0.2)
    assert np.mean(errors) == pytest.approx(expected, rel=0.2)
    assert np.median(draws) == pytest.approx(1 / expected**2, rel=0.25)


@pytest.mark.parametrize("given", [{"match_batches": True}, {"shuffle": False}], ids=str)
def test_what_the_same_batches_do_to_all_chains_is_an_error(given):
    common = 0.5 + 0.3 * noise(1)
    differences = common + 0.01 * noise()
    apart, together = (health.summary(samples_of(differences, **also)) for also in ({}, given))
    assert together["llc_se"] == pytest.approx(10 * 0.3 / np.sqrt(400), rel=0.15)
    assert apart["llc_se"] < together["llc_se"] / 20
    assert together["ess"] == pytest.approx(400, rel=0.3)
    assert together["init_loss_se"] > 0


def test_batches_that_come_again_do_not_hide_the_error_of_chains():
    slow = np.cumsum(0.02 * noise(), axis=1)
    again = np.tile([2.0, -1.0, -2.0, 1.0], 100)
    row = health.summary(samples_of(0.5 + slow + again, shuffle=False))
    alone = health.summary(samples_of(0.5 + slow))
    assert row["llc_se"] == pytest.approx(alone["llc_se"])
    assert row["ess"] <= alone["ess"] * 1.001
    same = health.summary(samples_of(0.5 + noise(1) + np.zeros((4, 1)), match_batches=True))
    assert same["ess"] == pytest.approx(400, rel=0.3)  # chains without noise do the same


def test_what_all_chains_share_is_not_an_error():
    steps = 0.1 * noise()
    assert health.mean_error(steps + np.exp(-STEP / 100)) == pytest.approx(health.mean_error(steps))


def test_a_single_step_has_no_error_and_one_chain_has_a_result():
    row = health.summary(samples_of(np.full((1, 1), 0.5)))
    assert row["llc_mean"] == pytest.approx(5)
    assert all(np.isnan(row[name]) for name in ("llc_se", "split_rhat", "ess", "drift"))
    assert row["status"] == "warn"
    assert row["status_reason"].startswith("independent draws cannot be counted")


def test_split_rhat_is_as_defined():
    values = np.array([[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 2.0, 3.0]])
    # halves have the means .5, 2.5, 2.5, 2.5 (variance 1) and the variance .5 each
    assert health.split_rhat(values) == pytest.approx(np.sqrt(0.5 + 1 / 0.5))


def test_batches_that_heat_the_chains_are_told():
    row = health.summary(replace(samples_of(0.5 + 0.1 * noise()), batch_heat=0.5))
    assert row["status"] == "warn"
    assert row["status_reason"].startswith("too hot: batches add about 50 % to the noise")

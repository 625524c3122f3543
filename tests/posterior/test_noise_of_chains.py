"""The noise of chains is standard normal, and each chain's own."""

import numpy as np
import scipy.stats
import torch

from isoloss.posterior._noise import STEPS, Normals


def draws(chains: int, length: int, steps: int, seed: int = 1, std: float = 1.0) -> np.ndarray:
    """Draws (chains, steps, length)."""
    source = Normals(chains, [slice(0, length)], std, seed, "a test")
    taken = [source.next(step)[0].clone() for step in range(steps)]
    return torch.stack(taken, 1).numpy()


def test_draws_are_standard_normal():
    values = draws(2, 1000, 200).astype(np.float64).ravel()
    count = len(values)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - moment) < 4 * np.sqrt(variance / count)
    assert scipy.stats.kstest(values, "norm").pvalue > 1e-3
    assert 4.2 < abs(values).max() < 5.5
    assert np.isfinite(values).all()


def test_draws_of_steps_and_chains_are_independent():
    values = draws(3, 2000, 3 * STEPS).reshape(9, -1)  # three chains, three calls each
    correlations = np.corrcoef(values) - np.eye(9)
    assert abs(correlations).max() < 5 / np.sqrt(values.shape[1])


def test_a_chain_has_the_same_draws_beside_any_number_of_others():
    for length in (1, 7, 501, 40_001):
        of_three = draws(3, length, 3)
        assert np.array_equal(draws(1, length, 3), of_three[:1])
        assert np.array_equal(draws(2, length, 3), of_three[:2])


def test_seed_and_standard_deviation_tell_draws_apart():
    first = draws(1, 50, 5)
    assert np.array_equal(first, draws(1, 50, 5))
    assert not np.isin(first, draws(1, 50, 5, seed=2)).any()
    assert np.allclose(draws(1, 50, 5, std=0.25), first / 4)
    assert (draws(1, 50, 5, std=0.0) == 0).all()

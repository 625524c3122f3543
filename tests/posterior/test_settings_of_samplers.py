"""The settings of a sampler: how many steps they mean, and what they may be."""

import pytest

from isoloss.core.problems import IsolossError
from isoloss.posterior.settings import Settings


def test_draws_are_spread_over_the_steps_after_burn_in():
    settings = Settings(lr=1e-3, n_beta=10, num_draws=3, num_steps_bw_draws=2, num_burnin_steps=4)
    assert settings.num_steps == 10
    assert list(settings.draws) == [4, 6, 8]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", -1, "lr: -1 is not a number, 0 or more"),
        ("lr", float("nan"), "lr: nan is not a number"),
        ("n_beta", None, "n_beta: None is not a number"),
        ("num_chains", 0, "num_chains: 0 is not a whole number, 1 or more"),
        ("num_chains", True, "num_chains: True is not a whole number"),
        ("num_burnin_steps", 1.5, "num_burnin_steps: 1.5 is not a whole number, 0 or more"),
        ("bounding_box_size", -0.1, "bounding_box_size: -0.1 is not a number, 0 or more, or None"),
        ("rmsprop_alpha", 1, "rmsprop_alpha: 1 is not a number from 0 up to 1, without 1"),
        ("rmsprop_eps", 0, "rmsprop_eps: 0 is not a number above 0"),
        ("shuffle", "no", "shuffle: 'no' is not True or False"),
        (
            "sampling_method",
            "sgld",
            "sampling_method: 'sgld' is not known; known: rmsprop_sgld, sgmcmc_sgld",
        ),
        ("init_loss", "pair", "init_loss: 'pair' is not known; did you mean 'paired'"),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value, message):
    with pytest.raises(IsolossError, match=message):
        Settings(**{"lr": 1e-3, "n_beta": 10, name: value})


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(IsolossError) as refusal:
        Settings(lr=-1, n_beta=-1, init_loss="first")
    assert [problem.place for problem in refusal.value.problems] == ["lr", "n_beta", "init_loss"]

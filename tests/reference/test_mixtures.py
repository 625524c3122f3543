"""Published mixtures: the law of Ye et al. as printed, and what this project's law predicts.

Runs: arXiv:2403.16952, 26 mixtures of five domains at four sizes of model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.core import registry
from isoloss.fit.scores import rank_correlation
from isoloss.laws._make import made_law

DOMAINS = ("academic", "prose", "dialogue", "symbolic", "internet")
PUBLISHED_R2 = {
    "academic": 0.98568,
    "prose": 0.97054,
    "dialogue": 0.96881,
    "symbolic": 0.99556,
    "internet": 0.98702,
}
SIZES = ("70M", "160M", "305M", "410M")
SEEDS, SEEN = range(5), 20  # random splits, and runs of the 26 that are fitted


@pytest.fixture
def mixtures(reference_data):
    """The 26 runs of every size at step 30000: proportions by name, losses by domain."""
    table = pd.read_csv(reference_data / "mixinglaws" / "5mix.csv")
    table = table[(table["step"] == 30000) & table["model_size"].isin(SIZES)]
    by_size = {}
    for size, runs in table.groupby("model_size"):
        shares = {f"p_{d}": runs[f"p_{d}"].to_numpy() for d in DOMAINS}
        by_size[size] = shares, {d: runs[f"loss_{d}"].to_numpy() for d in DOMAINS}
        assert len(runs) == 26
    return by_size


def r2(predicted: np.ndarray, loss: np.ndarray) -> float:
    return 1 - ((predicted - loss) ** 2).sum() / ((loss - loss.mean()) ** 2).sum()


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_published_exponential_law_has_its_published_r2(mixtures, domain):
    shares, losses = mixtures["70M"]
    card = registry.card("law", "exponential_mixing")
    law, values = card.make(list(shares)), card.PRESETS[domain]["values"]
    computed = r2(law.loss(law.theta(values), shares), losses[domain])
    assert computed == pytest.approx(PUBLISHED_R2[domain], abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_mixtures_that_were_not_fitted_are_predicted(mixtures, size):
    shares, losses = mixtures[size]
    scores = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(26)
        seen, unseen = ({k: v[part] for k, v in shares.items()} for part in
                        (order[:SEEN], order[SEEN:]))  # fmt: skip
        for domain, loss in losses.items():
            law = made_law("mixture_power", {}, list(shares)).for_response(f"loss_{domain}")
            best = law.estimate(seen, loss[order[:SEEN]], np.ones(SEEN))
            scores.append(r2(law.given(best.state).loss(best.theta, unseen), loss[order[SEEN:]]))
    assert np.mean(scores) > 0.95


@pytest.fixture(scope="module")
def regmix(reference_data):
    """RegMix (arXiv:2407.01492): proportions and loss_pile_cc of 512 runs, and of 256 others."""
    parts = []
    for name in ("train_1m.csv", "test_1m.csv"):
        table = pd.read_csv(reference_data / "regmix" / name)
        shares = table.filter(like="p_")
        shares = shares.div(shares.sum(axis=1), axis=0)  # they are rounded
        parts.append(({c: shares[c].to_numpy() for c in shares}, table["loss_pile_cc"].to_numpy()))
    return parts


@pytest.mark.parametrize(
    ("card", "least", "most"),
    [("linear_mixture", 0.9011, 0.9031), ("mixture_power", 0.9901, 1.0)],
    ids=["linear regression as published", "ours above the published LightGBM"],
)
def test_rank_correlation_on_the_test_runs_of_regmix(regmix, card, least, most):
    (shares, loss), (others, there) = regmix
    law = made_law(card, {}, list(shares)).for_response("loss_pile_cc")
    best = law.estimate(shares, loss, np.ones(len(loss)))
    predicted = law.given(best.state).loss(best.theta, others)
    assert least < rank_correlation(there, predicted) < most

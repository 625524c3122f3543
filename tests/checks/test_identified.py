"""What runs do not tell apart is said in the user's parameters, and never ends in a traceback."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_laws import Written

import isoloss
from isoloss.checks import directions, identified
from isoloss.checks.evidence import Evidence
from isoloss.fit.evidence import conditioning
from isoloss.formulas import read_expression

X = {"x": np.linspace(1.0, 5.0, 9), "z": np.geomspace(1.0, 100.0, 9)}
KNOWN = {
    "1 + A * B * x": "only A * B is known, not A and B apart",
    "1 + A / B * x": "only A / B is known, not A and B apart",
    "1 + A * B**2 * x": "only A * B**2 is known, not A and B apart",
    "1 + A / (B * x)**c": "only A / B**c is known, not A and B apart",
    "1 + (A + B) * x": "only A + B is known, not A and B apart",
    "1 + (A - B) * x": "only A - B is known, not A and B apart",
    "1 + x**(A * B)": "only A * B is known, not A and B apart",
    "1 + 1e-12 * A * x + B * z": "A changes no prediction",
}


def told(text, logs=(), data=X):
    law = Written(text, ("x", "z"), logs)
    values = {term.name: 0.4 + 0.17 * i for i, term in enumerate(law.terms)}
    theta = law.theta(values)
    return law, theta, directions.combinations(law, theta, data)


@pytest.mark.parametrize("logs", [(), ("A", "B")])
@pytest.mark.parametrize("text", KNOWN)
def test_what_is_known_of_parameters_that_trade_is_named(text, logs):
    law, theta, words = told(text, logs)
    assert len(words) == 1 and words[0].startswith(KNOWN[text]), words
    known = conditioning(law, theta, X)
    assert known.free and list(known.known) == words
    assert known.in_the_form == words[0].startswith("only")


def test_parameters_that_other_runs_would_tell_apart_are_not_a_fault_of_the_form():
    law, theta, words = told("E + A * z**c", ("A",), {**X, "z": np.full(9, 7.0)})
    assert len(words) == 2 and all("trade" in one for one in words), words
    assert not conditioning(law, theta, {**X, "z": np.full(9, 7.0)}).in_the_form
    assert not conditioning(law, theta, X).free


def test_what_matters_most_beyond_the_runs_is_told_first():
    one_size = {**X, "z": np.full(9, 7.0)}
    _, _, words = told("A * B * x + 0.01 * c * z**d", data=one_size)
    assert [one.split(" ")[0] for one in words] == ["c", "only"], words
    assert "A * B" in words[1]  # which no runs could tell apart, so that no prediction changes


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["A * x", "A * B", "B / x**c", "exp(-c * z)", "(A - B) * z", "d"]),
             min_size=1, max_size=4),
    st.integers(1, 6),
    st.floats(-3, 3),
)  # fmt: skip
def test_rank_deficient_designs_and_parameters_that_cancel_are_told_in_words(parts, rows, value):
    law = Written(" - ".join(["1 + A", *parts]), ("x", "z"))
    data = {name: values[:rows] * 0 + values[0] for name, values in X.items()}
    theta = np.full(len(law.terms), value)
    known = conditioning(law, theta, data)
    assert isinstance(known.loosest, str) and len(known.known) <= len(law.terms)
    names = {term.name for term in law.terms}
    for words in known.known:
        assert any(name in words for name in names), words
    if np.isfinite(directions.relative(law, theta, data)).all() and len(law.terms) > 1:
        assert known.free and known.known


def evidence_of(law, values, replicates):
    theta, data = law.theta(values), {**X}
    params = pd.DataFrame({"term": list(values), "estimate": list(values.values())})
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    params = params.assign(ci_low=low, ci_high=high, ci_method="bootstrap", at_bound=False)
    loss = law.loss(theta, data)
    runs = pd.DataFrame({"run_id": [f"row-{i}" for i in range(len(loss))]})
    return Evidence(law, theta, runs, data, loss, loss, [], params, {}, None, replicates=replicates)


def test_huge_terms_of_opposite_signs_and_what_is_known_of_them_are_named():
    law = Written("A * x**a - B * x**b + c", ("x", "z"))
    values = {"A": 900.0, "a": 0.31, "B": 898.0, "b": 0.31, "c": 1.0}
    draws = np.random.default_rng(0).standard_normal((200, 1))
    both = np.array([900.0, 0.31, 898.0, 0.31, 1.0]) + draws * [2000.0, 0, 2000.0, 0, 0]
    evidence = evidence_of(law, values, both + 0.001)
    (doubt,) = identified.cancellation(evidence)
    assert doubt.grade == "care" and "A * x**a and B * x**b cancel" in doubt.found
    (trade,) = identified.trades(evidence)
    assert trade.grade == "note"
    assert "A and B trade: A - B is known to" in trade.found and "not even in sign" in trade.found
    sure = evidence_of(law, values, both * 0 + list(values.values()))
    assert not list(identified.trades(sure))


def test_a_scale_that_the_runs_do_not_reach_is_named():
    law = Written("E + A * exp(-x / K)", ("x", "z"), ("K",))
    draws = np.random.default_rng(0).standard_normal((60, 1))
    near, far = ({"E": 1.0, "A": 1.0, "K": scale} for scale in (3.0, 1e5))
    for values in (near, far):
        wide = np.array([1.0, 1.0, np.log(values["K"])]) + draws * [0.01, 0.01, 2.0]
        evidence = evidence_of(law, values, law.theta(law.values(wide)))
        evidence.params[["ci_low", "ci_high"]] = [0.01, 50.0]
        told_of = [one.found for one in identified.scales(evidence)]
        text = "x is below K at every run, by a factor of 2e4 at least: the runs do not reach K"
        assert told_of == ([text] if values is far else [])


def test_a_logarithm_whose_parts_are_known_is_no_doubt():
    law = Written("a + b * log(z)", ("x", "z"))
    draws = np.random.default_rng(0).normal(0, 0.01, (100, 2))
    evidence = evidence_of(law, {"a": 10.0, "b": -1.9}, np.array([10.0, -1.9]) + draws)
    assert not list(identified.cancellation(evidence))


def test_a_fit_of_one_size_says_what_its_runs_do_not_tell_apart():
    d = np.geomspace(1e9, 1e11, 12)
    table = pd.DataFrame({"N": 1e8, "D": d, "loss": 1.8 + 0.3 + 2100 / d**0.37})
    runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
    fit = isoloss.fit_law(runs, "chinchilla", bootstrap=0)
    one = fit.summary.iloc[0]
    assert one["status"] == "undetermined" and one["verdict"] == "do not use"
    assert "trade" in one["message"] and "undone by" in one["message"]
    assert " with " in one["loosest"]
    assert fit.findings["found"].str.contains("the runs do not determine .* trade").any()


def test_a_level_that_may_be_beyond_the_stated_range_is_told():
    """Half of a sigmoid: high was 0.88 [0.76, 1.1] of an accuracy, and the fit was sound."""
    x = np.linspace(-3, 3, 40)
    noise = 0.01 * np.random.default_rng(0).standard_normal(40)
    y = 0.25 + 0.6 / (1 + np.exp(-1.3 * (x - 2.4))) + noise
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "y": y}), {"x": "x", "y": "y"})
    text = "y = low + (high - low) * sigmoid(k * (x - m)); 0 <= y <= 1"
    fit = isoloss.fit_law(runs, formula=text, bootstrap=100)
    [row] = fit.findings[fit.findings["check"] == "range"].to_dict("records")
    assert row["found"].startswith("high is a level of the y, and may be 0.")
    assert row["found"].endswith(": beyond its range, 0 to 1")
    assert row["remedy"].endswith("or limit it: --bounds high=:1")
    bounded = isoloss.fit_law(runs, formula=text, bootstrap=100, bounds={"high": (None, 1)})
    assert "range" not in set(bounded.findings["check"])


@pytest.mark.parametrize(
    ("terms", "remedy"),
    [
        (("A * 1", "A * exp(-x / S)"), "add runs of other x, fix S (--fix), or fit a smaller law"),
        (("A * x", "B * x**b"), identified.SMALLER),
    ],
)
def test_terms_of_one_amplitude_that_cancel_get_another_remedy_than_its_sign(terms, remedy):
    law = Written(" - ".join(terms), ("x",))
    values = {term.name: 1.0 for term in law.terms}
    evidence = evidence_of(law, values, np.ones((1, len(values))))
    assert identified._apart(evidence, *map(read_expression, terms)) == remedy

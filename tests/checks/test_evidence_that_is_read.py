"""Evidence that a person can read: thresholds, values that were given, many groups, marks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from written_laws import Written

import isoloss
from isoloss.checks import estimate
from isoloss.checks.evidence import CARE, Evidence
from isoloss.checks.thresholds import thresholds
from isoloss.core.problems import TableError
from isoloss.fit.evidence import conditioning
from isoloss.fitted.facts import record
from isoloss.quickfit import report

X = {"x": np.array([1.0, 2.0, 5.0, 9.0, 12.0, 20.0])}


def test_a_threshold_between_two_runs_is_known_to_lie_there():
    law = Written("E + where(x < T, s, 0)", ("x",))
    theta = law.theta({"E": 1.0, "T": 6.0, "s": 0.5})
    [one] = thresholds(law, theta, X)
    assert one.words == (
        "any T between 5 and 9 gives the same fit: no run has a value of x between them"
    )
    known = conditioning(law, theta, X)
    assert known.thresholds == (one,) and not known.free and np.isfinite(known.number)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "any T below 1 changes no prediction: x is above it at every run"),
        (30.0, "any T above 20 changes no prediction: x is below it at every run"),
    ],
)
def test_a_threshold_beyond_the_runs_changes_nothing(value, words):
    law = Written("E + where(x < T, 2 * x, x)", ("x",))
    known = conditioning(law, law.theta({"E": 1.0, "T": value}), X)
    assert known.free == ["T"] and known.known == (words,)


def test_a_parameter_that_is_more_than_a_threshold_is_none():
    law = Written("E + where(x < T, T * x, 0) + where(y * x > y, 1, 0)", ("x",))
    assert thresholds(law, law.theta({"E": 1.0, "T": 6.0, "y": 2.0}), X) == []


@pytest.fixture(scope="module")
def step():
    x = np.repeat(X["x"], 4)
    noise = 0.002 * np.sin(np.arange(len(x)) ** 2)
    table = pd.DataFrame({"x": x, "loss": 2 + 0.5 * (x < 7) + noise})
    runs = isoloss.read_runs(table, {"x": "x", "loss": "loss"})
    law = "loss = E * c + where(x < T, s, 0); T > 0; s > 0; c > 0"
    return runs, law, isoloss.fit_law(runs, formula=law, bootstrap=10, fixed={"c": 1.0})


def test_an_interval_of_a_threshold_reaches_from_run_to_run(step):
    *_, fit = step
    row = fit.params.set_index("term").loc["T"]
    assert row["ci_low"] <= 5 < 9 <= row["ci_high"] and np.isnan(row["std_error"])
    assert "any T between 5 and 9" in fit.summary["message"].item()
    assert fit.findings.set_index("check").loc["threshold", "grade"] == "note"
    assert not fit.params["free"].any()


def test_a_value_that_was_given_is_called_fixed_and_has_no_interval(step):
    *_, fit = step
    c = next(p for p in record(fit).fits[0].parameters if p.term == "c")
    assert c.fixed and c.interval() == "(fixed)" and c.remark == ""
    assert "[1, 1]" not in report._parameters(record(fit))


def test_parameters_that_are_only_known_together_are_marked(step):
    runs, law, _ = step
    fit = isoloss.fit_law(runs, formula=law, bootstrap=0, fixed={"T": 7.0})
    free = fit.params.set_index("term")["free"]
    assert list(free[free].index) == ["E", "c"]
    assert report._parameters(record(fit)).count("(not identified alone)") == 2


def test_many_combinations_are_the_first_of_them_and_their_number():
    names = [f"{a}{i}" for i in range(5) for a in "bc"]
    law = Written(" + ".join(f"b{i} * c{i} * x**{i}" for i in range(5)), ("x",))
    known = conditioning(law, law.theta(dict.fromkeys(names, 0.7)), X)
    assert len(known.known) == 5
    summary = {"status": "undetermined", "n_replicates": 0, "n_replicates_converged": 0}
    params = pd.DataFrame({"term": names, "at_bound": False})
    own = evidence(law, dict.fromkeys(names, 0.7), params, summary, known=known.known)
    findings = list(estimate.optimum(own))
    assert findings[0].found.endswith("; 3 more, of no greater effect, in the table findings")
    assert [one.grade for one in findings[1:]] == ["note"] * 3


def evidence(law, values, params, summary=None, **more):
    theta = law.theta(values)
    loss = law.loss(theta, X)
    runs = pd.DataFrame({"run_id": [f"row-{i}" for i in range(len(loss))]})
    return Evidence(law, theta, runs, X, loss, loss, [], params, summary or {}, None, **more)


@pytest.mark.parametrize(("ends", "care"), [((-0.1, 0.1), False), ((-8.0, 9.0), True)])
def test_a_location_is_judged_by_the_predictions_that_it_changes(ends, care):
    law = Written("E + (log(x) - m)**2", ("x",))
    params = pd.DataFrame({"term": ["E", "m"], "estimate": [1.0, 0.02], "ci_method": "bootstrap"})
    params = params.assign(ci_low=[0.9, ends[0]], ci_high=[1.1, ends[1]], at_bound=False)
    findings = list(estimate.intervals(evidence(law, {"E": 1.0, "m": 0.02}, params)))
    assert [one.found for one in findings if one.grade == CARE] == ["m may be -8 to 9"] * care


def test_an_exponent_has_to_have_a_sign():
    law = Written("E + A / x**alpha", ("x",))
    params = pd.DataFrame({"term": ["E", "A", "alpha"], "estimate": [1.0, 0.5, 0.1]})
    params = params.assign(ci_low=[0.99, 0.5, -0.1], ci_high=[1.01, 0.5, 0.3], at_bound=False)
    params = params.assign(ci_method="bootstrap")
    values = {"E": 1.0, "A": 0.5, "alpha": 0.1}
    findings = list(estimate.intervals(evidence(law, values, params)))
    assert [one.found for one in findings] == ["alpha may be -0.1 to 0.3"]


@pytest.fixture(scope="module")
def many(make_runs):
    N = np.tile(np.geomspace(1e7, 1e9, 6), 8)
    law = {"law": "power_law", "options": {"variable": "N", "offset": False}}
    loss = 40 / N**0.25 + 0.002 * np.sin(np.arange(len(N)) ** 2)
    runs = make_runs(N, 1e9, loss, group=[f"g{i}" for i in np.repeat(range(8), 6)])
    return record(isoloss.fit_law(runs, **law, bootstrap=0, holdout="largest:N"))


def test_many_groups_have_a_line_of_each_kind_with_the_worst(many):
    text = report._evidence(many)
    assert text.startswith("evidence of 8 fits: 8 converged (all of them: summary.parquet, --json)")
    assert "[g" in text and text.count("\n") < 9
    text = report._errors(many)
    assert text.startswith("held out of 8 groups (all of them: --json): the runs of largest N")
    worst = max(many.fits, key=lambda one: one.held_out_rmse)
    assert f"at most {worst.held_out_rmse:.3g} [{worst.group}, loss]" in text
    assert text.count("\n") == 2


def test_a_table_with_too_few_sizes_says_which_setting_takes_it():
    table = pd.DataFrame({"N": [1e6, 2e6], "loss": [3.0, 2.9]})
    with pytest.raises(TableError, match="map them, or say how many there are: need=1"):
        isoloss.read_runs(table, {"N": "N", "loss": "loss"})

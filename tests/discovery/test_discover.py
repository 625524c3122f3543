"""A search over a user's table: the answer, what it can be asked, and what it refuses."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.discovery import mixtures, search
from isoloss.discovery.discovery import far
from isoloss.discovery.outliers import outliers
from isoloss.discovery.table import Asked, mixture_of, search_table
from isoloss.formulas import read_formula


def of_one_size(noise: float = 0.002) -> pd.DataFrame:
    """Twelve sizes of a power law with an offset, in two groups."""
    draws = np.random.default_rng(0)
    size = np.geomspace(1e7, 1e9, 12)
    parts = []
    for name, amplitude in (("web", 400.0), ("code", 250.0)):
        loss = (1.7 + amplitude / size**0.34) * (1 + noise * draws.normal(size=12))
        parts.append(pd.DataFrame({"family": name, "params": size, "val_loss": loss}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def few_forms(monkeypatch):
    """A search that begins with two forms: for what does not depend on which they are."""
    whole = search.forms
    monkeypatch.setattr(search, "forms", lambda *given: whole(*given)[:2])


@pytest.fixture(scope="module")
def answer():
    return isoloss.discover(of_one_size(), groups="family", columns={"N": "params"})


def test_a_power_law_is_found_with_constants_of_its_own_for_every_group(answer):
    size = 1e10
    for group, amplitude in (("web", 400.0), ("code", 250.0)):
        truth = 1.7 + amplitude / size**0.34
        assert answer.predict(N=[size], group=group)[0] == pytest.approx(truth, rel=0.02)
    assert set(answer.best.constants) == {"web", "code"}
    assert answer.simplest.parameters <= answer.best.parameters
    assert answer.edge < 0.1


def test_formulas_are_those_that_a_law_takes(answer):
    for formula in answer.ranking["formula"]:
        read = read_formula(formula)
        assert read.response == "val_loss"
        assert "N" in read.names
    assert "--formula 'val_loss = " in answer.command
    assert answer.command.endswith("--columns N=params group=family")
    assert ("or the simplest:" in str(answer)) == (answer.simplest.formula != answer.best.formula)


def test_groups_of_a_table_are_those_of_the_column_that_was_named(answer):
    runs = of_one_size().iloc[[0, -1]]
    one_by_one = [
        answer.predict(N=[row.params], group=row.family)[0] for row in runs.itertuples(index=False)
    ]
    assert answer.predict(runs) == pytest.approx(one_by_one)


def test_constants_in_the_text_predict_what_the_law_does(answer):
    numbers = answer.best.constants["web"]
    made = eval(numbers, {"exp": np.exp, "log": np.log}, {"N": 1e8})
    assert made == pytest.approx(answer.best.predict(N=[1e8], group="web")[0], rel=1e-3)


def test_the_same_seed_gives_the_same_answer(few_forms):
    first, again = (isoloss.discover(of_one_size().iloc[:12], seed=3) for _ in range(2))
    assert str(again) == str(first)


def test_rows_in_another_order_give_the_same_best_law(answer, few_forms):
    table = of_one_size().sample(frac=1, random_state=1)
    again = isoloss.discover(table, groups="family", columns={"N": "params"})
    assert again.best.formula == answer.best.formula


def test_the_command_prints_the_answer_and_writes_the_ranking(tmp_path, capsys):
    file = tmp_path / "runs.csv"
    of_one_size().iloc[:12].to_csv(file, index=False)
    assert main(["discover", str(file), "--json", "--out", str(tmp_path / "out")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["response"] == "val_loss"
    assert record["laws"][0]["formula"] == record["best"]
    ranking = pd.read_csv(tmp_path / "out" / "ranking.csv")
    assert len(ranking) == record["n_forms"] >= 13
    assert record["best"] in (tmp_path / "out" / "discovery.txt").read_text()


@pytest.mark.parametrize(
    ("table", "asked", "words"),
    [
        ({"N": [1, 2, 3], "loss": [3.0, 2.0, 1.0]}, {}, "at least 8 runs"),
        ({"N": [7] * 9, "loss": range(1, 10)}, {}, "no column varies"),
        ({"name": list("abcdefghi"), "kind": list("abcdefghi")}, {}, "no column holds numbers"),
        ({"N": range(1, 10), "y": range(9)}, {}, "--response"),
        ({"N": range(1, 10), "loss": range(1, 10)}, {"response": "los"}, "loss"),
        ({"N": [1, 2, 3] * 3, "loss": range(1, 10)}, {}, "4 levels"),
        (
            {"group": list("aaabbbbbbbbb"), "N": range(1, 13), "loss": range(1, 13)},
            {},
            "group a: 3 runs are too few",
        ),
        ({"a b": range(1, 10), "loss": range(1, 10)}, {}, "--columns"),
        ({"N": range(1, 10), "loss": [2] * 9}, {}, "one value"),
        ({"N": range(1, 10), "loss": range(1, 10)}, {"columns": {"if": "N"}}, "formula can have"),
        ({"N": range(1, 10), "loss": range(1, 10)}, {"variables": ["M"]}, "no column 'M'"),
    ],
)
def test_what_it_cannot_do_is_said(table, asked, words):
    with pytest.raises(IsolossError, match=words):
        isoloss.discover(pd.DataFrame(table), **asked)


def test_a_table_that_shows_no_law_is_told_from_one_that_does(answer):
    loss = 3 + 0.3 * np.random.default_rng(1).standard_normal(16)
    runs = pd.DataFrame({"N": np.geomspace(1e7, 1e9, 16), "loss": loss})
    words = "this table may show no law"
    assert words in str(isoloss.discover(runs))
    assert words not in str(answer)


def test_the_command_fits_the_law_that_was_printed_to_the_same_rows(tmp_path, capsys, few_forms):
    runs = of_one_size().iloc[:12].drop(columns="family")
    runs.loc[3, "val_loss"] = np.nan
    runs.to_csv(tmp_path / "runs.csv", index=False)
    answer = isoloss.discover(tmp_path / "runs.csv", columns={"N": "params"})
    words = shlex.split(answer.command)
    words = words[words.index("law") :]
    out = str(tmp_path / "law")
    assert main([*words, "--interval", "none", "--bootstrap", "0", "--json", "--out", out]) == 0
    (typed,) = json.loads(capsys.readouterr().out)["fits"]
    (told,) = answer.record()["laws"][0]["fits"]
    assert typed["n_runs"] == 11
    assert typed["objective_value"] == told["objective_value"]
    values = {row["term"]: row["estimate"] for row in typed["parameters"]}
    assert values == told["parameters"]
    assert f"{told['objective']} is {told['objective_value']:.6g}; converged" in str(answer)


def test_columns_with_the_names_of_the_table_of_runs_get_others(tmp_path, few_forms):
    rng, (n, d) = np.random.default_rng(0), np.meshgrid(np.geomspace(1e7, 1e9, 5), [1, 2, 4, 8])
    runs = pd.DataFrame({"n_params": n.ravel(), "repeats": d.ravel()})
    runs["loss"] = 2 + 400 / runs.n_params**0.34 + 0.1 / runs.repeats + 1e-4 * rng.random(20)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    words = shlex.split(isoloss.discover(tmp_path / "runs.csv").command)
    assert words[-2:] == ["N=n_params", "repeats_=repeats"]
    words = words[words.index("law") :]
    assert main([*words, "--interval", "none", "--out", str(tmp_path / "law")]) == 0


def test_columns_that_say_nothing_are_named_in_the_notes(few_forms):
    table = of_one_size().iloc[:12].assign(seed=range(12), width=64, flops=lambda t: 6 * t.params)
    notes = " ".join(isoloss.discover(table).table.notes)
    assert "seed" in notes
    assert "width" in notes
    assert "flops follows from the other columns" in notes


def test_a_value_that_is_asked_for_by_a_wrong_name_is_refused(answer):
    with pytest.raises(IsolossError, match="no values of 'N'"):
        answer.predict()
    with pytest.raises(IsolossError, match=r"'Nn' is not a variable .*did you mean 'N'"):
        answer.predict(Nn=[1e9])
    with pytest.raises(IsolossError, match="'M' is not a variable"):
        answer.predict(N=[1e9], M=[1e9])
    with pytest.raises(IsolossError, match="no group 'wob'"):
        answer.predict(N=[1e9], group="wob")


@pytest.mark.parametrize("factor", [1.0, 100.0, 0.01])
def test_one_wrong_row_is_named_and_does_not_choose_the_law(few_forms, factor):
    table = of_one_size().iloc[:12, 1:].reset_index(drop=True)
    table.loc[4, "val_loss"] *= factor
    table.loc[12] = [np.nan, 2.0]  # a row left out before it, so that numbers are those of the file
    answer = isoloss.discover(table.iloc[[12, *range(12)]].reset_index(drop=True))
    assert answer.best.formula == "val_loss = E + A / params**alpha"
    assert answer.best.predict(params=[1e10])[0] == pytest.approx(1.7 + 400 / 1e10**0.34, rel=0.02)
    told = "1 run is far from the law and left out of the comparison: row 6"
    assert (told in str(answer)) == (factor != 1)


def test_a_wrong_row_of_few_is_named_and_stays(few_forms):
    table = of_one_size().iloc[:8, 1:].reset_index(drop=True)
    table.loc[2, "val_loss"] *= 100
    answer = isoloss.discover(table)
    assert len(answer.table.y) == 8
    assert "1 run is far from the law and decides it" in str(answer)


def test_a_law_that_bends_to_a_wrong_row_does_not_hide_it():
    y = np.array([3.0, 2.5, 2.2, 2.0, 200.0])
    smooth, bent = y * 1.002, y * 1.0015
    smooth[4] = 1.9
    zero = np.zeros(5, dtype=int)
    far = outliers(y, np.stack([smooth, bent]), [3, 6], zero, True)
    assert far.tolist() == [False] * 4 + [True]
    many = np.where(np.arange(5) > 2, 100.0, 1.0) * y  # two of five are more than a few
    assert not outliers(many, np.stack([smooth]), [3], zero, True).any()


@pytest.mark.parametrize(("zeros", "told"), [(1, True), (0, False), (6, False)])
def test_a_few_zeros_in_a_size_are_named(zeros, told):
    table = of_one_size().drop(columns="family")
    table.loc[table.index[:zeros], "params"] = 0
    table["params"] *= table["params"] / 1e7
    notes = " ".join(search_table(table, "runs", Asked()).notes)
    assert ("params is 0 in row 1:" in notes) == told


def test_mixtures_are_ranked_by_their_own_laws(monkeypatch):
    monkeypatch.setattr(mixtures, "cards", lambda _: ["exponential_mixing", "linear_mixture"])
    draws = np.random.default_rng(0)
    shares = draws.dirichlet(np.ones(3), 14)
    loss = 2 + 0.5 * np.exp(shares @ [-2.0, 1.0, 0.5])
    names = ("web", "code", "books")
    table = pd.DataFrame({f"p_{name}": shares[:, i] for i, name in enumerate(names)})
    table["loss_web"] = loss
    answer = isoloss.discover(table)
    assert answer.best.card == "exponential_mixing"
    assert np.allclose(answer.predict(table)["loss_web"], loss, rtol=0.01)
    assert answer.record()["command"].endswith("--law exponential_mixing")
    assert list(answer.ranking["law"]) == [law.card for law in answer.laws]
    with pytest.raises(IsolossError, match="at least 5 mixtures"):
        isoloss.discover(table.iloc[:4])


def test_ten_times_the_largest_value_or_as_far_again():
    assert far(np.array([1.0, 4.0]), 10.0) == 40.0
    assert far(np.array([-1.0, 3.0]), 10.0) == 7.0
    assert far(np.array([-1.0, 3.0]), 1.0) == 3.0


def test_the_law_that_is_typed_next_is_the_one_that_was_found(answer):
    runs = isoloss.read_runs(of_one_size(), {"group": "family", "N": "params"}, need=0)
    fit = isoloss.fit_law(runs, formula=answer.best.formula, bootstrap=0, interval="none")
    typed = fit.predict(N=[1e9], group="web").iloc[0]["val_loss"]
    assert typed == answer.best.predict(N=[1e9], group="web")[0]


def test_a_score_that_rises_has_a_formula_with_a_minus(few_forms):
    size = np.geomspace(1e7, 1e10, 12)
    noise = 0.001 * np.random.default_rng(0).normal(size=12)
    runs = pd.DataFrame({"N": size, "brier": -0.25 - 3.0 * size**-0.2 + noise})
    answer = isoloss.discover(runs)
    assert answer.best.formula == "brier = E - A / N**alpha"
    values = answer.best.fit.values
    assert values["A"] > 0
    made = values["E"] - values["A"] / 1e11 ** values["alpha"]
    assert answer.best.predict(N=[1e11])[0] == pytest.approx(made, rel=1e-12)
    assert made == pytest.approx(-0.25 - 3.0 * 1e11**-0.2, abs=0.02)


def test_a_law_apart_from_the_others_beyond_the_table_is_not_the_best(answer):
    work = answer.best._owner
    finals = [law._law for law in answer.laws]
    noise = answer.noise
    first = finals[0]
    apart = SimpleNamespace(score=first.score, at=lambda *given: 1.5 * first.at(*given))
    same = [first] * 2
    assert work.central([apart, *same], noise) == 1
    assert work.central([*same, apart], noise) == 0


def test_a_law_at_a_bound_or_worse_when_typed_is_passed_over_for_the_next(answer):
    work, noise = answer.best._owner, answer.noise
    laws = sorted((law._law for law in answer.laws), key=lambda law: law.score(noise))
    first, second = laws[:2]
    gap = second.score(noise) - first.score(noise)
    bounded = SimpleNamespace(params=first.fit.params.assign(at_bound=True), loss=first.fit.loss)
    bounded.law = first.fit.law
    loose = replace(first, fit=bounded)
    assert loose.score(noise) == pytest.approx(first.score(noise) + 0.5)
    worse = replace(first, higher=gap + 0.01)
    assert worse.reached == (gap + 0.01 < np.log(1.5))
    for odd, passed in ((loose, gap < 0.5), (worse, True), (first, False)):
        own = {first.found.form.text: odd, second.found.form.text: second}
        some = replace(work)
        some.__dict__["typist"] = SimpleNamespace(typed=lambda one, own=own: own[one.form.text])
        told = some.told([first.found, second.found], 2, noise)
        assert (told[0] is second) == passed


def test_the_text_says_how_many_forms_were_screened(answer):
    assert f"\n{len(answer.ranking)} forms, ranked by" in str(answer)
    finals = replace(answer, ranking=answer.ranking.head(8), screened=70)
    assert "\n70 forms on 400 runs, the best 8 on more, ranked by" in str(finals)
    assert finals.record()["n_forms"] == 70


def test_mixtures_with_one_loss_are_told_as_law_tells_them():
    p = np.random.default_rng(1).dirichlet([1, 1, 1], 30)
    loss = 1.5 + 0.8 * np.exp(-3 * p[:, 0]) + 0.5 * np.exp(-2 * p[:, 1])
    runs = pd.DataFrame(p, columns=["p_web", "p_code", "p_math"]).assign(loss=loss)
    assert isoloss.discover(runs).best.card == "mixture_power"
    assert mixture_of(runs.assign(lr=1 + p[:, 0] ** 2), "runs", Asked()) is None
    assert mixture_of(runs.assign(lr=0.1, seed=range(30)), "runs", Asked()) is not None
    by_domain = runs.assign(web_loss=loss * 1.01, code_loss=loss * 0.9)
    whole = isoloss.discover(by_domain, response="loss")
    assert list(whole.responses) == ["loss_all"]

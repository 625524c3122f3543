"""Published laws: predict with them, and set them beside a fit."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fitted import presets
from isoloss.fitted.chain import asked_of
from isoloss.fitted.optima import optima
from isoloss.laws._make import made_law

EPOCH = registry.facts("law", "chinchilla")["PRESETS"]["epoch"]["values"]


def epoch(n: float, d: float) -> float:
    """The law of Besiroglu et al. 2024, written out."""
    v = EPOCH
    return v["E"] + v["A"] / n ** v["alpha"] + v["B"] / d ** v["beta"]


def told(capsys, *arguments: str) -> str:
    assert main(["predict", *arguments]) == 0
    return capsys.readouterr().out


def answer(capsys, *arguments: str) -> dict:
    def refuse(constant: str):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(told(capsys, *arguments, "--json"), parse_constant=refuse)


@pytest.fixture(scope="module")
def folder(chinchilla_runs, tmp_path_factory):
    """A saved fit with intervals, of two groups."""
    parts = [chinchilla_runs(noise=0.003, seed=i, group=f"g{i}") for i in (0, 1)]
    runs = pd.concat(parts, ignore_index=True)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    out = tmp_path_factory.mktemp("saved")
    fit_law(runs, "chinchilla", bootstrap=30).save(out)
    return str(out)


# On the command line


def test_one_line_predicts_the_loss_of_a_published_law(capsys):
    text = told(capsys, "chinchilla:epoch", "--N", "7e9", "--D", "1.4e12")
    assert f"7B  1.4T  {epoch(7e9, 1.4e12):.4g}" in text
    assert "loss, nats/token" in text and "Besiroglu et al. 2024, arXiv:2404.10102" in text
    assert "no interval: the source gives no covariance of the parameters" in text
    assert "nan" not in text and "[" not in text.replace("[=", "")


@pytest.mark.parametrize(
    ("law", "arguments", "quantity", "printed"),
    [
        # arXiv:2305.16264: a check of its repository
        ("data_constrained:muennighoff", "--N 6.34B --D 242B --at U=25B", "loss", (2.225644, 1e-6)),
        # arXiv:2402.07871, table 2: 100M active parameters are 4.3e9 in all
        ("granularity:krajewski", "--N 4.3B --D 4.37B --at granularity=8", "loss", (3.133, 0.025)),
        # arXiv:2502.05172, table 4: 16.5424 N^-0.1557 + 234.6726 D^-0.2652 + 1.3637
        ("joint_moe:ludziejewski", "--N 1B --D 10B --at experts=32", "loss", (2.5432, 3e-3)),
        # arXiv:2503.04715, equation 1
        ("best_setting:step_batch", "--N 1B --D 100B", "batch", (1.11e6, 5e3)),
    ],
)
def test_a_published_law_predicts_what_its_source_prints(law, arguments, quantity, printed, capsys):
    value, error = printed
    (row,) = answer(capsys, law, *arguments.split())["predictions"]
    assert row[quantity] == pytest.approx(value, abs=error)


def test_a_published_law_has_its_best_sizes_where_its_source_prints_them(capsys):
    """arXiv:2502.05172, table 1: 990M active parameters and 17e9 tokens of 8 experts."""
    asked = ["--subject-to", "6*N*D <= 1e20", "--given", "experts=8"]
    (best,) = answer(capsys, "joint_moe:ludziejewski", *asked)["optima"]
    sizes = {one["name"]: one["value"]["estimate"] for one in best["chosen"]}
    assert sizes == pytest.approx({"N": 9.9e8, "D": 1.7e10}, rel=0.02)


def test_a_point_outside_the_runs_of_a_law_is_warned_of(capsys):
    outside = told(capsys, "chinchilla:epoch", "--N", "7B", "--D", "1.4T")
    assert "WARNING: outside the runs (N 57.3M to 16.2B, D 819M to 318B): 1 of 1" in outside
    assert f"by a factor of {1.4e12 / 3.18e11:.3g}" in outside
    inside = told(capsys, "chinchilla:epoch", "--N", "7B", "--D", "100B")
    assert "inside" in inside and "WARNING" not in inside


def test_a_budget_says_what_lies_beyond_the_runs(capsys):
    """Its N and D: C may be ten times that of the largest run where they hardly leave the runs."""
    assert "N by a factor of" in told(capsys, "chinchilla:epoch", "--C", "1e26")


def test_several_values_are_crossed_or_taken_in_pairs(capsys):
    given = ["chinchilla:epoch", "--N", "1B", "2B", "--D", "20B", "40B"]
    crossed = [(row["N"], row["D"]) for row in answer(capsys, *given)["predictions"]]
    assert crossed == [(1e9, 2e10), (1e9, 4e10), (2e9, 2e10), (2e9, 4e10)]
    paired = answer(capsys, *given, "--pairs")["predictions"]
    assert [(row["N"], row["D"]) for row in paired] == [(1e9, 2e10), (2e9, 4e10)]
    for row in paired:
        assert row["loss"] == pytest.approx(epoch(row["N"], row["D"]), rel=1e-12)
        assert row["low"] is row["high"] is None


def test_a_budget_is_divided_as_the_law_does(capsys):
    answered = answer(capsys, "chinchilla:epoch", "--C", "5.76e23", "1e20")
    assert answered["unit"] == "nats/token" and answered["law"] == "chinchilla:epoch"
    for row in answered["allocations"]:
        n, d = row["N"], row["D"]
        assert 6 * n * d == pytest.approx(row["C"]) and row["N_low"] is None
        assert row["loss"] == pytest.approx(epoch(n, d))
        assert min(epoch(n * 1.01, d / 1.01), epoch(n / 1.01, d * 1.01)) > row["loss"]
    completed = answer(capsys, "chinchilla:epoch", "--N", "1B", "--C", "1.2e20")["predictions"]
    assert completed[0]["D"] == pytest.approx(2e10)


def test_a_saved_fit_predicts_with_intervals_for_its_groups(folder, capsys):
    fit = isoloss.load_fit(folder)
    answered = answer(
        capsys, folder, "--N", "1e9", "--D", "1e10", "--group", "g1", "--level", "0.8"
    )
    (row,), expected = answered["predictions"], fit.predict("g1", level=0.8, N=1e9, D=1e10)
    assert [row[name] for name in expected] == pytest.approx(expected.iloc[0].tolist())
    assert (
        row["low"] < row["loss"] < row["high"]
        and answered["verdict"] == "sound: no check has a doubt"
    )
    text = told(capsys, folder, "--C", "1e21")
    best = fit.allocate(1e21).iloc[0]
    assert "verdict: sound" in text and f"{best.loss:.4g} [{best.loss_low:.4g}," in text
    assert "group: g0\n" in text and "of group g0, the first; of others: --group g1" in text
    assert answered["group"] == "g1" and not any("--group" in note for note in answered["notes"])


def test_the_list_has_every_preset_with_its_unit_and_range(capsys):
    text = told(capsys, "--list")
    listed = json.loads(told(capsys, "--list", "--json"))
    assert [one["law"] for one in listed] == presets.names() and len(listed) > 5
    for name in presets.names():
        assert f"{name}: " in text
    assert "fitted to runs with N 70M to 16B, D 5B to 500B" in text
    assert text.count("in nats/token") == sum(one["unit"] == "nats/token" for one in listed) > 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chinchila:epoch", "--N", "1"], "did you mean 'chinchilla:epoch'"),
        (["chinchilla:epok", "--N", "1"], "did you mean 'chinchilla:epoch'"),
        (["chinchilla", "--N", "1"], "name it chinchilla:hoffmann or chinchilla:epoch"),
        (["epoch", "--N", "1"], "name it chinchilla:epoch"),
        (["no-such-folder", "--N", "1"], "neither a published law nor a folder of a fit"),
        (["chinchilla:epoch", "--N", "x", "--D", "1"], "--N: found 'x'; give numbers"),
        (["chinchilla:epoch", "--N", "0", "--D", "1"], "--N: found '0'; give numbers above 0"),
        (["chinchilla:epoch", "--C", "0"], "--C: found '0'; give numbers above 0"),
        (["chinchilla:epoch", "--N", "1e9"], "variable D: not given; the law is "),
        (["chinchilla:epoch", "--N", "1e9"], ": give --D VALUE"),
        (["downstream_error:gadre", "--N", "1e9"], "give --at loss=VALUE"),
        (
            ["chinchilla:epoch", "--N", "1e9", "--given", "experts=64"],
            "give the value of a point as --at experts=64",
        ),
        (["chinchilla:epoch"], "give --N, --D, --C or --at"),
        (["chinchilla:epoch", "--N", "1", "--D", "1", "--C", "1"], "or C alone"),
        (["chinchilla:epoch", "--N", "1", "2", "--D", "1", "2", "3", "--pairs"], "2 of N, 3 of D"),
        ([], "no law is named"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_told_with_what_to_do(arguments, message, capsys):
    assert main(["predict", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_proportions_that_do_not_sum_to_1_are_warned_of(capsys):
    at = ["--at", "p_prose=0.5,0.6", "p_academic=0.5"]
    text = told(capsys, "exponential_mixing:prose", *at)
    assert "WARNING: the proportions of 1 of 2 points do not sum to 1" in text


# In Python


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_predicts_what_its_card_says(name):
    law, (card, own) = isoloss.preset(name), name.split(":")
    facts = registry.facts("law", card)["PRESETS"][own]
    assert law.values == pytest.approx(facts["values"]) and law.source == facts["source"]
    options = {**registry.defaults("law", card), **facts.get("options", {})}
    plain = made_law(card, options, facts.get("domains"))
    shares = plain.variables if plain.proportions else ("sparsity",)
    points = {v: np.array([0.2 if v in shares else 20.0]) for v in plain.variables}
    points |= {v: np.array([2e9]) for v in "NDU" if v in plain.variables}
    expected = plain.loss(plain.theta(facts["values"]), points)
    table = law.predict(**points)
    np.testing.assert_allclose(law.loss(**points), expected)
    np.testing.assert_allclose(table[facts.get("response", law.quantity)], expected)
    assert table[["low", "high"]].isna().all(axis=None)
    assert np.isfinite(table["distance"]).all() or set(law.domain) < set(law.law.variables)
    assert table["distance"].isna().all() or law.domain
    unit = facts.get("unit", "nats/token")
    assert name in repr(law) and (unit == "1" or f"in {unit}" in repr(law))


def test_a_point_is_not_inside_runs_whose_range_is_not_known(capsys):
    law = isoloss.preset("sparsity:abnar")  # of its N and D nothing is known
    far = law.predict(N=1e15, D=1.0, sparsity=[0.5, 0.99])["distance"]
    assert np.isnan(far[0]) and far[1] > 1
    both = isoloss.chain(
        isoloss.preset("chinchilla:epoch"), isoloss.preset("downstream_error:gadre")
    )
    far = both.predict(N=[1e9, 1e12], D=[1e11, 1e13])["distance"]
    assert np.isnan(far[0]) and far[1] > 10


def test_a_law_that_does_not_divide_a_budget_says_how_to_ask_for_it(capsys):
    assert main(["predict", "joint_moe:ludziejewski", "--C", "1e21"]) == 2
    asked = '--subject-to "6*N*D <= 1e21" --given experts=VALUE'
    assert asked in capsys.readouterr().err


def test_points_without_a_value_are_told(capsys):
    main(["predict", "sparsity:abnar", "--N", "1e9", "--D", "1e11", "--at", "sparsity=0.5,1.5"])
    assert "WARNING: the law has no finite value at 1 of 2 points" in capsys.readouterr().out


def test_a_preset_answers_the_questions_of_a_fit():
    law = isoloss.preset("chinchilla:hoffmann")
    best = law.allocate(1e21).iloc[0]
    assert law.budget_for(best.loss)["C"].item() == pytest.approx(1e21)
    assert law.data_for(best.N)["D"].item() == pytest.approx(best.D)
    with pytest.raises(IsolossError, match="no such published law"):
        isoloss.preset("chinchilla:hofmann")


def test_published_laws_stand_beside_a_fit_with_and_without_a_shift(chinchilla_runs):
    runs = chinchilla_runs()
    law = isoloss.preset("chinchilla:epoch")
    n, d = (runs[c].to_numpy(float) for c in ("n_params", "n_samples"))
    runs = runs.assign(loss=law.loss(N=n, D=d) - 0.3)
    fit = fit_law(runs, "chinchilla", bootstrap=0)
    one, other = isoloss.compare_presets(fit, [law.name, "kaplan:kaplan"], [1e21])
    assert (one.rmse, one.shift) == pytest.approx((0.3, -0.3))
    assert max(one.rmse_shifted, one.rmse_fit) < 1e-4 and one.keys == ("besiroglu2024chinchilla",)
    assert one.n_runs == len(runs)
    assert one.n_outside == ((n < 5.73e7) | (n > 1.62e10) | (d < 8.19e8) | (d > 3.18e11)).sum()
    ours = fit.allocate(1e21)["N"].item()
    assert one.allocations[0].n_params.estimate == pytest.approx(ours, rel=1e-3)
    left = runs["loss"] - isoloss.preset("kaplan:kaplan").loss(N=n, D=d)
    assert other.rmse == pytest.approx(math.sqrt((left**2).mean()))
    assert other.rmse_shifted == pytest.approx(left.std(ddof=0))


def test_losses_in_another_unit_and_sizes_that_lack_are_not_compared(chinchilla_runs):
    bytes_ = fit_law(chinchilla_runs(), "chinchilla", bootstrap=0, loss_unit="nats/byte")
    (one,) = isoloss.compare_presets(bytes_, ["chinchilla:epoch"], [1e21])
    assert one.reason == "it is in nats/token, the runs in nats/byte" and math.isnan(one.rmse)
    assert one.allocations[0].n_params.estimate > 0
    lacking = chinchilla_runs().assign(n_unique=np.nan)
    fit = fit_law(lacking, "chinchilla", bootstrap=0)
    (one,) = isoloss.compare_presets(fit, ["data_constrained:muennighoff"])
    assert one.reason == "the runs lack U" and not one.allocations


def test_a_quick_fit_prints_published_laws_beside_its_own(chinchilla_runs, tmp_path, capsys):
    columns = {"n_params": "params", "n_samples": "tokens", "loss": "loss"}
    runs = chinchilla_runs(noise=0.005)[list(columns)].rename(columns=columns)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    result = isoloss.law_of_table(
        tmp_path / "runs.csv", bootstrap=0, compare=["chinchilla:epoch", "chinchilla:hoffmann"]
    )
    assert [one.name for one in result.decisions.beside] == [
        "chinchilla:epoch", "chinchilla:hoffmann",
    ]  # fmt: skip
    for one in result.decisions.beside:
        assert f"{one.rmse:.3g}" in result.text and f"{one.shift:+.3g}" in result.text
    assert (
        result.text.count("fitted here  ") >= 3 and "as tokenisers and data differ" in result.text
    )
    typo = ["law", str(tmp_path / "runs.csv"), "--compare", "chinchilla:epok"]
    assert main([*typo, "--out", str(tmp_path / "o")]) == 2
    assert "did you mean 'chinchilla:epoch'" in capsys.readouterr().err


# Chains


@pytest.fixture(scope="module")
def with_errors(chinchilla_runs):
    """Runs with an error that follows from the loss, and fits of both."""
    runs = chinchilla_runs(noise=0.003)
    rng = np.random.default_rng(3)
    error = 0.85 - 2.2 * np.exp(-0.7 * runs["loss"]) + rng.normal(0, 0.004, len(runs))
    runs = runs.assign(error=error)
    loss = fit_law(runs, "chinchilla", bootstrap=40)
    return runs, loss, fit_law(runs, "downstream_error", bootstrap=40, response="error")


def test_a_chain_is_the_second_law_at_the_loss_of_the_first(with_errors):
    _, loss, error = with_errors
    both = isoloss.chain(loss, error)
    table = both.predict(N=[1e9, 5e9], D=[2e10, 1e11])
    first = loss.predict(N=[1e9, 5e9], D=[2e10, 1e11])
    np.testing.assert_allclose(table["loss"], first["loss"])
    np.testing.assert_allclose(table["error"], error.loss(loss=first["loss"]))
    assert (table["low"] < table["error"]).all() and (table["error"] < table["high"]).all()
    predicted = ["low", "high", "distance", "farthest", "at_end"]
    assert list(table) == ["N", "D", "loss", "error", *predicted]
    assert not table["at_end"].any()


def test_a_question_to_a_chain_is_that_of_the_loss_with_the_interval_of_both(with_errors):
    runs, loss, error = with_errors
    both, limit = isoloss.chain(loss, error), "6*N*D <= 1e23"
    best, of_loss = both.optimize(subject_to=limit), loss.optimize(subject_to=limit)
    np.testing.assert_allclose(best[["N", "D"]], of_loss[["N", "D"]], rtol=1e-5)
    there = both.predict(N=best["N"], D=best["D"])
    np.testing.assert_allclose(best["error"], there["error"], rtol=1e-9)
    assert best["farthest"].item() == there["farthest"].item() != ""
    assert best["replicates"].item() == len(both.pairs()[0].theta)
    assert (best["error_low"] < best["error"]).all() and (best["error"] < best["error_high"]).all()
    cheap = both.optimize("6*N*D", subject_to=f"error <= {best['error'].item()}")
    np.testing.assert_allclose(cheap["minimum"], 1e23, rtol=1e-5)
    better = fit_law(runs.assign(hit=1 - runs["error"]), "formula", {
        "formula": "hit = a + b * exp(-g * loss)", "variables": ["loss"]
    }, response="hit", bootstrap=0)  # fmt: skip
    largest = isoloss.chain(loss, better)
    assert (both.best, largest.best) == ("error", "-hit")
    (told,) = optima(largest, asked_of(largest, {"subject_to": limit}))
    assert told.asked == f"largest hit under {limit}" and not told.problem
    assert told.chosen[0].value.estimate == pytest.approx(of_loss["N"].item(), rel=1e-4)
    assert [one.name for one in told.between] == ["loss"]


def test_fits_of_other_runs_with_the_same_labels_are_not_paired(with_errors):
    runs, loss, error = with_errors
    assert isoloss.chain(loss, error).paired
    others = fit_law(runs.assign(n_params=runs["n_params"] * 2), "chinchilla", bootstrap=0)
    assert not isoloss.chain(others, error).paired


def test_the_interval_of_a_chain_has_the_doubts_of_both_fits(with_errors):
    _, loss, error = with_errors
    at = {"N": 1e11, "D": 2e12}
    both = isoloss.chain(loss, error)
    ends = {}
    for name, (one, other) in {
        "both": (loss, error),
        "loss": (loss, isoloss.preset("downstream_error:gadre")),
        "error": (isoloss.preset("chinchilla:epoch"), error),
    }.items():
        row = isoloss.chain(one, other).predict(level=0.9, **at).iloc[0]
        ends[name] = row.high - row.low
    assert both.paired and ends["both"] > 0 and ends["loss"] > 0 and ends["error"] > 0
    # by hand: the replicates of one number, one after the other
    losses = loss.law.loss(loss.replicate_thetas(), {k: np.array([v]) for k, v in at.items()})
    thetas = error.replicate_thetas()
    values = error.law.loss(thetas, {"loss": losses[: len(thetas)]})
    row = both.predict(**at).iloc[0]
    assert values.min() <= row.low <= row.high <= values.max()


def test_replicates_of_fits_to_other_runs_are_crossed(with_errors, chinchilla_runs):
    *_, error = with_errors
    other = fit_law(chinchilla_runs(noise=0.003, seed=5).iloc[:-1], "chinchilla", bootstrap=15)
    both = isoloss.chain(other, error)
    assert not both.paired
    row = both.predict(N=1e10, D=1e11).iloc[0]
    assert row.low < row.error < row.high


def test_a_chain_on_the_command_line_is_that_of_python(with_errors, tmp_path, capsys):
    _, loss, error = with_errors
    folders = [str(tmp_path / name) for name in ("loss", "error")]
    for fit, folder in zip((loss, error), folders, strict=True):
        fit.save(folder)
    given = [folders[0], "--then", folders[1], "--N", "1B", "--D", "20B"]
    (row,) = answer(capsys, *given)["predictions"]
    expected = isoloss.chain(loss, error).predict(N=1e9, D=2e10).iloc[0]
    assert [row["loss"], row["error"], row["low"], row["high"]] == pytest.approx(
        [expected.loss, expected.error, expected.low, expected.high]
    )
    text = told(capsys, *given)
    assert f"{expected.error:.4g} [{expected.low:.4g}," in text and "paired by their number" in text
    best = answer(capsys, folders[0], "--then", folders[1], "--C", "1e21")["predictions"][0]
    assert best["N"] == pytest.approx(loss.allocate(1e21)["N"].item())
    text = told(capsys, "chinchilla:epoch", "--then", folders[1], "--N", "1B", "--D", "20B")
    assert "leaves out the uncertainty of chinchilla:epoch" in text and "own tokeniser" in text


def test_laws_that_do_not_follow_each_other_are_told(with_errors):
    runs, loss, error = with_errors
    with pytest.raises(IsolossError, match="the second law reads N, D"):
        isoloss.chain(loss, loss)
    with pytest.raises(IsolossError, match="variable D"):
        isoloss.chain(loss, error).predict(N=1e9)
    with pytest.raises(IsolossError, match="name the column, such as error"):
        fit_law(runs, "downstream_error")


def test_a_chain_that_leaves_the_range_of_its_response_says_so(capsys):
    given = ["vocabulary:tao", "--then", "downstream_error:gadre", "--N", "1B", "--D", "100B"]
    (row,) = answer(capsys, *given, "--at", "vocab=1e8")["predictions"]
    assert row["error"] == 0 and row["at_end"]
    text = " ".join(told(capsys, *given, "--at", "vocab=1e8").split())
    assert "at 1 of 1 points the law leaves the range of error, 0 to 1" in text
    assert "it is a law by a loss above 0, and the first gives one that is not" in text


def test_what_a_point_lacks_or_has_too_much_is_told(capsys):
    assert main(["predict", "exponential_mixing:academic", "--N", "7e9"]) == 2
    told = capsys.readouterr().err
    assert "variables p_academic, p_prose" in told and "--at p_academic=VALUE" in told
    assert main(["predict", "routed:s_base", "--N", "1e8", "--D", "1e9", "--at", "experts=8"]) == 0
    told = capsys.readouterr().out
    assert "D: not in the law" in told
    assert "holds for: one number of tokens for all runs" in told

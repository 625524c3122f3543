"""The options of `isoloss law`: bounds, shared parameters, hold-outs, JSON; and bars."""

from __future__ import annotations

import json
import math
import time
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from running import ROOT

import isoloss
from isoloss import __main__ as command
from isoloss.__main__ import main
from isoloss.core import progress
from isoloss.core.problems import IsolossError
from isoloss.fit.law import fit_law
from isoloss.fitted.facts import Allocation, BestMixture, Doubt, FoldScore, OneFit, Parameter
from isoloss.quickfit import law as front


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Runs of two optimisers, of which the second needs less for the same loss."""
    rng, rows = np.random.default_rng(0), []
    for name, factor in (("adamw", 1.0), ("muon", 0.8)):
        for n in np.geomspace(1e7, 1e9, 12):
            loss = (1.7 + factor * 400 / n**0.34) * np.exp(rng.normal(0, 3e-3))
            rows.append((name, n, 1e12, loss))
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    names = ["optimizer", "params", "tokens", "val_loss"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    return path


LAW = ["--law", "power_law", "--option", "variable=N"]


@pytest.fixture
def saved(monkeypatch):
    """The results of quick fits, of which only the tables are written."""
    results = []

    def save(result, out, *_):
        results.append(result)
        return list(result.fit.save(out))

    monkeypatch.setattr(front, "save", save)
    return results


@pytest.fixture
def answer(table, tmp_path, saved, capsys):
    """The command on the table: exit code, output and errors."""

    def run(*words):
        out = ["--bootstrap", "8", "--out", str(tmp_path / "o")]
        code = main(["law", *words, *out, *LAW, str(table)])
        return code, *capsys.readouterr()

    return run


def params(tmp_path) -> pd.DataFrame:
    return pd.read_parquet(tmp_path / "o" / "params.parquet").set_index(["group", "term"])


def test_bounds_and_shared_parameters_reach_the_fit(answer, tmp_path):
    code, output, _ = answer("--shared", "E,alpha", "--bounds", "alpha=:0.3", "E=1:")
    assert code == 0 and "held out [muon]: the" in output
    estimates = params(tmp_path)["estimate"].unstack("group")
    assert estimates["adamw"]["alpha"] == pytest.approx(0.3)
    shared = ["E", "alpha"]
    assert estimates["adamw"][shared].tolist() == estimates["muon"][shared].tolist()
    assert estimates["adamw"]["A"] > estimates["muon"]["A"]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("roll_out", "held out [muon, loss] (roll_out): 4 folds, each predicted"),
        ("leave_one_out", "worst leave_one_out n_flops"),
    ],
)
def test_a_hold_out_reaches_the_text_and_the_scores(answer, tmp_path, rule, line):
    code, output, _ = answer("--holdout", rule)
    assert code == 0 and line in output and "of most compute" not in output
    scores = pd.read_parquet(tmp_path / "o" / "scores.parquet")
    assert set(scores["group"]) == {"adamw", "muon"}
    assert all(fold.startswith(rule) for fold in scores["fold"])
    of_muon = scores[(scores["group"] == "muon") & np.isfinite(scores["rmse"])]
    weights = of_muon["n_held_out"] / of_muon["n_held_out"].sum()
    rmse = math.sqrt((weights * of_muon["rmse"] ** 2).sum())
    (shown,) = [one for one in output.splitlines() if one.startswith("held out [muon")]
    assert f"RMSE {rmse:.3g}, error" in shown


def test_runs_are_drawn_together_by_a_column_of_the_table_under_its_name_there(answer, tmp_path):
    shown = [answer("--cluster", name)[1] for name in ("params", "N", "n_params")]
    assert "bootstrap over n_params" in shown[0] and shown[0] == shown[1] == shown[2]


def test_nothing_is_held_out_where_nobody_asks_for_it(answer, tmp_path):
    code, output, _ = answer("--holdout", "none")
    assert code == 0 and "held out" not in output
    assert pd.read_parquet(tmp_path / "o" / "scores.parquet").empty


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bounds", "E=2:1"], "--bounds E: found '2:1'; give the lower limit first"),
        (["--bounds", "E=2:2"], "both limits are the same; for one value: --fix E=2"),
        (["--within", "N=2:2"], "both limits are the same; for one value: --given N=2"),
        (["--bounds", "E=2"], "--bounds E: found '2'; write LOW:HIGH, LOW: or :HIGH"),
        (["--bounds", "E=:"], "write LOW:HIGH"),
        (["--bounds", "E=low:"], "--bounds E: found 'low'; give a number"),
        (["--bounds", "F=1:"], "bounds F: no such parameter"),
        (["--fix", "E=2", "--bounds", "E=1:"], "--fix E and --bounds E: E is fixed at 2"),
        (
            ["--tie", "alpha,beta", "--fix", "beta=1"],
            "beta has the value of alpha; give --fix alpha",
        ),
        (["--interval", "none", "--cluster", "x"], "--interval none and --cluster x"),
        (["--objective", "mse", "--delta", "0.1"], "--objective mse and --delta 0.1: Huber"),
        (["--columns", "group=", "--shared", "E"], "shared: the runs have no groups to share"),
        (["--interval", "none"], "--interval none and --bootstrap 8: replicates are drawn for"),
        (["--shared", "E", "--holdout", "random"], "--shared and --holdout random: groups"),
        (["--figure-width", "0.5"], "width: found 0.5; needs inches"),
        (["--shared", "F"], "shared F: no such parameter"),
        (["--holdout", "leave-one"], "holdout: unknown 'leave-one'; did you mean 'leave_one_out'?"),
    ],
)
def test_what_cannot_be_given_together_is_told(answer, words, message):
    code, output, errors = answer(*words, "--json")
    assert (code, output) == (2, "") and message in errors and "Traceback" not in errors


def finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def test_json_is_the_record_and_nothing_else(tmp_path, saved, capsys):
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
    frame = pd.DataFrame({"params": n.ravel(), "tokens": d.ravel()})
    frame["loss"] = 1.7 + 400 / frame["params"] ** 0.34 + 410 / frame["tokens"] ** 0.28
    frame.to_csv(tmp_path / "plane.csv", index=False)
    words = ["law", "--json", "--bootstrap", "4", "--flops", "1e21", "1e22"]
    assert main([*words, str(tmp_path / "plane.csv"), "--out", str(tmp_path / "o")]) == 0
    output, errors = capsys.readouterr()
    shown = json.loads(output, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    told = saved[0].answer
    assert errors == "" and output.isascii()
    assert shown["format"] == 1 and shown["law"] == "chinchilla" and shown["quantity"] == "loss"
    assert shown["judgement"] == told.facts.judgement
    assert shown["verdict"] == told.facts.worst.verdict
    assert shown["columns"] == {"N": "params", "D": "tokens", "loss": "loss"}
    assert shown["guessed"] == ["N", "D", "loss"]
    assert shown["runs"] == {"n_rows": 25, "n_done": 25, "lost": [], "n_along": None}
    assert {str(tmp_path / "o" / "params.parquet")} <= set(shown["files"])
    for one, fact in zip(shown["fits"], told.facts.fits, strict=True):
        assert {field.name for field in fields(OneFit)} | {"method"} == set(one)
        assert one["group"] == fact.group and one["rmse"] == fact.rmse
        assert one["seed_sd"] is None  # not known: NaN
        for part, own in zip(one["parameters"], fact.parameters, strict=True):
            assert part == {f.name: finite(getattr(own, f.name)) for f in fields(Parameter)}
        assert all({f.name for f in fields(Doubt)} == set(doubt) for doubt in one["doubts"])
    of_fold = {field.name for field in fields(FoldScore)} | {"group", "response", "baseline_rmse"}
    assert [set(one) for one in shown["held_out"]] == [of_fold]
    assert {f.name for f in fields(Allocation)} | {"group"} == set(shown["budgets"][0])
    assert [one["flops"] for one in shown["budgets"]] == [1e21, 1e22]
    assert shown["budgets"][0]["loss"]["low"] <= shown["budgets"][0]["loss"]["high"]
    (grows,) = shown["growth"]
    assert grows["n_exponent"]["estimate"] == pytest.approx(0.28 / 0.62, abs=1e-6)
    assert grows["d_exponent"]["estimate"] == pytest.approx(0.34 / 0.62, abs=1e-6)


def test_a_width_of_the_figure_makes_one_for_a_paper(table, tmp_path, monkeypatch):
    widths = []
    monkeypatch.setattr(front, "save", lambda result, out, width=None: widths.append(width) or [])
    words = ["law", str(table), *LAW, "--bootstrap", "0", "--holdout", "none"]
    assert main([*words, "--figure-width", "3.25"]) == 0 and main(words) == 0
    assert widths == [3.25, None]


def test_every_key_of_the_json_is_documented(table):
    told = front.law_of_table(table, "power_law", options={"variable": "N"}, bootstrap=0)
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    for key in json.loads(told.json()):
        assert f"`{key}`" in page, key


def test_json_of_mixtures_has_the_best_of_each_group(tmp_path):
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], 24)
    frame = pd.DataFrame(p, columns=["p_a", "p_b", "p_c"])
    for name, part in zip("abc", p.T, strict=True):
        frame[f"loss_{name}"] = 2 + np.exp(-2 * part)
    frame.to_csv(tmp_path / "mix.csv", index=False)
    told = front.law_of_table(tmp_path / "mix.csv", "log_linear", bootstrap=4, holdout="none")
    shown = json.loads(told.json([tmp_path / "law.py"]))
    (best,) = shown["best_mixtures"]
    assert set(best) == {f.name for f in fields(BestMixture)}
    assert math.isclose(sum(s["proportion"]["estimate"] for s in best["shares"]), 1)
    assert shown["budgets"] == shown["held_out"] == [] and shown["files"][0].endswith("law.py")
    assert "held out: no mixtures" in told.text and "nan" not in told.text
    with pytest.raises(IsolossError, match="best_of: runs of mixtures have a loss a domain"):
        front.law_of_table(tmp_path / "mix.csv", best_of=["p_a"])


class Counter:
    """Counts what a bar would show."""

    def __init__(self):
        self.expected = self.done = 0

    def expect(self, count):
        self.expected += count

    def step(self):
        self.done += 1
        assert self.done <= self.expected


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 1),
        ({"group": "optimizer"}, 2),
        ({"group": "optimizer", "shared": ["E"]}, 2),
        ({"holdout": {"rule": "random", "repeats": 3}}, 4),
        ({"holdout": "largest_compute"}, 2),
    ],
)
def test_every_fit_and_fold_is_counted(table, settings, steps):
    counter = Counter()
    columns = {"N": "params", "D": "tokens", "loss": "val_loss"}
    runs = isoloss.read_runs(table, columns)
    runs["optimizer"] = pd.read_csv(table)["optimizer"]
    fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0, progress=counter, **settings)
    assert counter.done == counter.expected == steps


def test_a_bar_appears_on_a_terminal_after_a_while_and_nowhere_else(monkeypatch, capsys):
    def work():
        steps = progress.Steps("fits")
        steps.expect(3)
        for _ in range(3):
            steps.step()
        steps.close()
        return capsys.readouterr().err

    assert work() == ""  # no terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "fits" not in work()  # done in no time
    monkeypatch.setattr(progress, "DELAY", 0.01)
    steps = progress.Steps("fits")
    time.sleep(0.2)  # no step is done, and it appears
    steps.close()
    assert "fits" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["p_web,p_code", "[p_web, p_code]"])
def test_an_option_that_is_a_list_is_written_with_or_without_brackets(text):
    options = command._options_of_law("mixture_scaling", {"domains": text, "form": "joint"})
    assert options == {"domains": ["p_web", "p_code"], "form": "joint"}

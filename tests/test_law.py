"""The quick fit: a user's table, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.quickfit import law as front

QUICK = {"bootstrap": 20}


@pytest.fixture
def table(chinchilla_runs, tmp_path):
    """A CSV with names of its own."""
    runs = chinchilla_runs(noise=0.005)
    raw = runs[["n_params", "n_samples", "loss"]]
    raw.columns = ["Params", "train_tokens", "Val Loss"]
    raw.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_one_command_says_the_law_its_evidence_its_error_and_what_to_do(table, tmp_path, capsys):
    assert main(["law", str(table), "--bootstrap", "50", "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    for part in (
        "N = Params (guessed), D = train_tokens (guessed), loss = Val Loss (guessed)",
        "another column: --columns",
        "chinchilla: L = E + A / N^α + B / D^β",
        "95 % interval",
        "evidence: converged; 49 of 49 starts agree",
        "held out: the",
        "inside the interval of a run",
        "best for C, FLOP",
        "C by a factor of 100",
        "law.png",
    ):
        assert part in output, part
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "law.png", "law.pdf", "law.py", "explain.md", "params.tex", "paper.md", "params.parquet",
    }  # fmt: skip
    assert "runs of runs.csv, with $N$ of" in (tmp_path / "out/paper.md").read_text("utf-8")


def test_it_runs_as_a_program_and_asks_for_nothing(table, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "isoloss", "law", table.name, "--bootstrap", "10"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "runs-law" / "law.png").stat().st_size > 10_000


def test_what_is_given_goes_before_what_is_guessed(table, capsys):
    columns = ["--columns", "N=train_tokens", "D=Params"]
    assert (
        main(["law", str(table), "--bootstrap", "0", "--out", str(table.parent / "o"), *columns])
        == 0
    )
    output = capsys.readouterr().out
    assert "N = train_tokens, D = Params, loss = Val Loss (guessed)" in output


def test_budgets_fixed_and_tied_terms_reach_the_fit(table, capsys):
    given_ = [
        "--fix",
        "E=1.7",
        "--fix",
        "B=900",
        "--tie",
        "alpha,beta",
        "--flops",
        "1e21",
        "--bootstrap",
        "0",
    ]
    assert main(["law", str(table), "--out", str(table.parent / "o"), *given_]) == 0
    output = capsys.readouterr().out
    assert "1e21" in output and "1.7 " in output
    estimates = pd.read_parquet(table.parent / "o" / "params.parquet").set_index("term")["estimate"]
    assert estimates["E"] == pytest.approx(1.7)
    assert estimates["B"] == pytest.approx(900)  # a word said twice adds to the first
    assert estimates["alpha"] == pytest.approx(estimates["beta"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "loss=val"], "no column 'val'"),
        (["--columns", "loss"], "write KEY=VALUE"),
        (["--fix", "F=1"], "no such parameter"),
        (["--fix", "E=x"], "give a number"),
        (["--law", "chinchila"], "did you mean 'chinchilla'?"),
        (["--objective", "huber_lag"], "did you mean 'huber_log'?"),
        (["--law", "data_constrained"], "reads U, and no column is called so"),
        (["--keep", "losss < 3"], "losss"),
        (["--keep", "loss.max() < 3"], "write max(loss)"),
        (["--columns", "V=Params"], "columns.V: is not a known quantity; known: C, D, N, U"),
        (["--columns", "=Params"], "is not a known quantity"),
        (["--columns", "N=Params", "D=Params"], "column 'Params' is also N"),
        (["--columns", "N=Params", "N=Params"], "'N' appears twice"),
        (["--option", "self=1"], "options of chinchilla.self: unknown key"),
        (["--option", "=1"], "unknown key"),
        (["--option", "offset=[ "], "--option offset: 1 problem"),
        (["--law", "power_law", "--option", "variable=3"], "found 3; needs a string"),
        (["--law", "power_law", "--option", "offset=maybe"], "needs a boolean"),
        (["--fix", "self=1"], "fixed self: no such parameter"),
        (["--fix", "E=inf"], "fixed E: found inf; needs a number, -1e"),
        (["--tie", "alpha,gamma"], "tied gamma: no such parameter"),
        (["--tie", "alpha,alpha"], "tied alpha"),
        (["--cluster", "self"], "cluster: no column 'self'"),
        (["--bootstrap", "-3"], "bootstrap: found -3"),
        (["--level", "2"], "ci_level: found 2; needs"),
        (["--delta", "nan"], "delta: found nan; needs"),
        (["--flops", "-1"], "flops: found -1; needs a number above 0"),
    ],
)
def test_bad_input_is_one_clear_line(table, capsys, arguments, message):
    assert main(["law", str(table), "--out", str(table.parent / "o"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (table.parent / "o").exists()


def test_a_column_that_is_given_is_not_guessed_for_another_letter(tmp_path):
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    frame = pd.DataFrame({"N": d, "self": n, "loss": loss, "model": range(25)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = {"D": "N", "N": "self"}
    quick_fit = front.law_of_table(str(tmp_path / "t.csv"), given=columns, bootstrap=0)
    assert quick_fit.fit.params.set_index("term").loc["alpha", "estimate"] == pytest.approx(0.34)
    assert front.save(quick_fit, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "no column looks like a loss"),
        ("loss,x\n1,2\n", "no column looks like N (parameters); no column looks like D (tokens)"),
        ("N,D,loss\n", "has no rows"),
        ("N,D,loss\n1e6,1e8,high\n", "column 'loss' has the name of the loss and holds text"),
    ],
)
def test_a_table_that_is_none_of_runs_is_told(tmp_path, capsys, content, message):
    (tmp_path / "t.csv").write_text(content)
    assert main(["law", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert message in error and "t.csv" in error


numbers = st.one_of(
    st.floats(1e-3, 1e12), st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e-300, 1e300, 1.0])
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(numbers, numbers, st.floats(0.1, 10) | numbers), min_size=1, max_size=12
    ),
    card=st.sampled_from([None, "power_law", "kaplan", "logarithm", "isoflop_parabolas"]),
)
def test_odd_data_give_a_law_or_a_clear_error_and_never_a_traceback(tmp_path, rows, card):
    frame = pd.DataFrame(rows, columns=["N", "D", "loss"])
    path = tmp_path / "odd.csv"
    frame.to_csv(path, index=False)
    try:
        quick_fit = front.law_of_table(str(path), card, bootstrap=3)
    except IsolossError as error:
        assert str(error)
    else:
        assert set(quick_fit.fit.summary["status"]) <= {
            "converged", "not_converged", "at_bound", "undetermined",
        }  # fmt: skip
        json.dumps(quick_fit.text)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.iloc[[0, 12, 30]],
        lambda r: r.iloc[:6],
        lambda r: r.assign(**{"Val Loss": 2.5}),
        lambda r: r.assign(Params=1e8),
        lambda r: pd.concat([r, r, r]),
        lambda r: r.assign(**{"Val Loss": r["Val Loss"] * 1e9}),
        lambda r: r.assign(Params=r["Params"] * 1e-6, train_tokens=r["train_tokens"] * 1e9),
    ],
    ids=["3 points", "6 points", "constant loss", "one N", "copies", "huge loss", "odd units"],
)
def test_degenerate_tables_are_answered(table, change):
    raw = change(pd.read_csv(table))
    raw.to_csv(table, index=False)
    try:
        quick_fit = front.law_of_table(str(table), **QUICK)
    except IsolossError as error:
        assert "runs for 5 parameters" in str(error)
        return
    status = quick_fit.fit.summary.loc[0, "status"]
    varied = raw["Params"].nunique() > 1 and raw["Val Loss"].nunique() > 1
    assert (status == "converged") == varied, quick_fit.text


def test_model_size_in_millions_gives_the_same_law(table):
    first = front.law_of_table(str(table), **QUICK).fit
    raw = pd.read_csv(table)
    raw["Params"] /= 1e6
    raw.to_csv(table, index=False)
    other = front.law_of_table(str(table), **QUICK).fit
    one, two = (f.params.set_index("term") for f in (first, other))
    for term in ("E", "B", "alpha", "beta"):
        assert two.loc[term, "estimate"] == pytest.approx(one.loc[term, "estimate"], rel=1e-7)
        assert two.loc[term, "ci_low"] == pytest.approx(one.loc[term, "ci_low"], rel=1e-6)
    scale = 1e6 ** one.loc["alpha", "estimate"]
    assert two.loc["A", "estimate"] * scale == pytest.approx(one.loc["A", "estimate"], rel=1e-6)


def test_points_along_runs_are_known_by_the_name_of_their_run(chinchilla_runs, tmp_path, capsys):
    runs = chinchilla_runs(noise=0.005)
    points = [
        pd.DataFrame(
            {
                "run": name,
                "params": n,
                "tokens": d * np.array([0.25, 0.5, 1.0]),
                "loss": 1.8 + 480 / n**0.35 + 2100 / (d * np.array([0.25, 0.5, 1.0])) ** 0.37,
            }
        )
        for name, n, d in zip(runs["run_id"], runs["n_params"], runs["n_samples"], strict=True)
    ]
    pd.concat(points).to_csv(tmp_path / "curves.csv", index=False)
    out = ["--bootstrap", "20", "--out", str(tmp_path / "out")]
    assert main(["law", str(tmp_path / "curves.csv"), *out]) == 0
    output = capsys.readouterr().out
    assert "of_run = run (guessed)" in output and "bootstrap over of_run" in output
    assert main(["law", str(tmp_path / "curves.csv"), "--columns", "of_run=", *out]) == 0
    assert "bootstrap over runs" in capsys.readouterr().out


def test_the_table_itself_is_not_overwritten(table, capsys, monkeypatch):
    before = table.read_bytes()
    for out in (".", "", str(table.parent)):
        monkeypatch.chdir(table.parent)
        assert main(["law", str(table), "--out", out, "--bootstrap", "0"]) == 2
        assert "is the folder of the table" in capsys.readouterr().err
    assert main(["law", str(table), "--out", str(table), "--bootstrap", "0"]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert table.read_bytes() == before and len(list(table.parent.iterdir())) == 1


def test_a_law_of_which_nothing_is_left_to_fit_is_refused(table, capsys):
    values = ["E=1.7", "A=400", "B=410", "alpha=.34", "beta=.28"]
    assert main(["law", str(table), "--law", "chinchilla", "--fix", *values]) == 2
    assert "fixed: no parameter is left to fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ends", "note"),
    [
        (
            ["finished", "failed", "deleted"],
            "status: 1 deleted, 1 failed are fitted; without them: --keep \"status == 'finished'\"",
        ),
        (
            ["ok", "FAILED", "ok"],
            "status: 1 FAILED are fitted; without them: --keep \"status != 'FAILED'\"",
        ),
    ],
)
def test_runs_that_did_not_end_well_are_not_fitted_without_a_word(tmp_path, ends, note):
    sizes = np.geomspace(1e6, 1e9, 9)
    table = pd.DataFrame({"params": sizes, "val_loss": 2 + 400 / sizes**0.34})
    table["status"] = [*ends, *[ends[0]] * 6]
    path = tmp_path / "runs.csv"
    table.to_csv(path, index=False)
    text = front.law_of_table(path, bootstrap=0).text
    assert note in " ".join(text.split())
    kept = front.law_of_table(path, bootstrap=0, keep=[f"status == '{ends[0]}'"]).text
    assert "are fitted; without" not in " ".join(kept.split())

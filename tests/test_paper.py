"""From a table of two optimisers to the paragraph, the tables and the BibTeX of a paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from project import ROOT

import isoloss
from isoloss.fit import fit_law
from isoloss.fitted import bibliography, rounding
from isoloss.fitted.export import export_fit
from isoloss.fitted.facts import Doubt, record
from isoloss.fitted.growth import growth
from isoloss.fitted.markup import Markdown
from isoloss.fitted.paper import context_of, paper, verdict
from isoloss.fitted.paper_tables import digits_of
from isoloss.fitted.sentences import Context, paragraph

PRESET = "chinchilla:epoch"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The quick fit of a CSV of two optimisers; one run diverged, one is dropped by a filter."""
    rng, rows = np.random.default_rng(0), []
    for optimizer, b in {"adamw": 490.0, "muon": 400.0}.items():
        for flops in np.geomspace(1e17, 1e19, 4):
            for ratio in np.geomspace(5, 80, 5):
                n = np.sqrt(flops / 6 / ratio)
                loss = 1.8 + 400 / n**0.34 + b / (flops / 6 / n) ** 0.3
                loss *= np.exp(rng.normal(0, 0.003))
                rows.append((optimizer, round(n), round(flops / 6 / n), round(loss, 4)))
    table = pd.DataFrame(rows, columns=["optimizer", "params", "tokens", "val_loss"])
    table.loc[3, "val_loss"], table.loc[30, "tokens"] = np.nan, 2e11
    file = tmp_path_factory.mktemp("two") / "two.csv"
    table.to_csv(file, index=False)
    return isoloss.law_of_table(
        file,
        given={"group": "optimizer"},
        keep=["tokens < 1e11"],
        bootstrap=60,
        compare=[PRESET],
        flops=[1e20],
    )


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```\n", page, flags=re.S)


def text_of(page: str) -> str:
    return page.partition("## Text\n\n")[2].partition("\n")[0]


def test_a_table_of_two_optimisers_becomes_the_paragraph_of_a_paper(two):
    text = text_of(two.paper)
    for part in (
        r"We fitted the law $L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}$",
        "[@hoffmann2022training]",
        "to 38 runs of two.csv, with $N$ of",
        "of $10^{17}$ to $10^{19}$ FLOP",
        "adamw (19 runs) and muon (19 runs)",
        "Of 40 rows of the table 2 were excluded: 1 diverged (loss is empty) and 1 dropped (not:",
        r"the Huber loss [@huber1964robust] ($\delta = 0.001$) of the difference",
        "Intervals of 95 % are percentiles of 60 refits to runs drawn with replacement",
        "Fitted without the 5 runs of most compute of each group, the law predicts them with an",
        "The compute-equivalent gain of muon over adamw (the compute of adamw over that with which",
        "at $10^{20}$ FLOP (10 times the largest run, an extrapolation",
        f"The published law {PRESET} [@besiroglu2024chinchilla] predicts the same runs",
    ):
        assert part in text, part
    (gain,) = two.fit.gain([1e20], "adamw", "muon").to_dict("records")
    shown = f"{gain['gain']:.3g} \\[{gain['gain_low']:.3g}, {gain['gain_high']:.3g}\\]"
    assert shown in text
    for one in record(two.fit).fits:
        assert f"{one.rmse:.3g} nats/token ($R^2$ {one.r2:.4f}) for {one.group}" in text
    assert "nan" not in two.paper and "[?]" not in two.paper


def test_every_citation_of_the_text_has_its_entry(two):
    (bibtex,) = blocks(two.paper, "bibtex")
    keys = set(re.findall(r"^@\w+\{(\w+),$", bibtex, flags=re.M))
    assert set(re.findall(r"@(\w+)[;\]]", text_of(two.paper))) == keys
    latex = blocks(two.paper, "latex")[0]
    assert {
        key for cited in re.findall(r"\\cite\{(.*?)\}", latex) for key in cited.split(",")
    } == keys
    assert keys == {
        "hoffmann2022training", "huber1964robust", "efron1982jackknife",
        "besiroglu2024chinchilla", "isoloss",
    }  # fmt: skip


def test_isoloss_is_cited_as_its_citation_file_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (entry,) = bibliography.entries(bibliography.isoloss()).values()
    for fact in (citation["title"], citation["authors"][0]["name"], str(citation["version"])):
        assert f"{{{fact}}}" in entry


def test_the_tables_in_latex_are_whole_and_have_the_cells_of_those_in_markdown(two):
    text, *tables = blocks(two.paper, "latex")
    for table in tables:
        (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", table)
        rows = [line for line in table.split("\n") if line.endswith(r"\\")]
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
        assert table.count(r"\end{tabular}") == 1 and r"\midrule" in table
    for part in (text, *tables):
        bare = re.sub(r"\\[{}%&_$#]", "", part.partition("\n")[2] if "tabular" in part else part)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
        assert not re.search(r"[%#]", bare)
        assert "_" not in re.sub(r"\$.*?\$|\\cite\{.*?\}", "", bare)
    heads = re.findall(r"^% (.*)$", "\n".join(tables), flags=re.M)
    assert heads == [
        "Fits", "Parameters", "Best division of a budget", "Compute-equivalent gain",
        "Published laws on these runs", "Best division by published laws",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed")
def test_the_page_compiles(two, tmp_path):
    body = "\n\n".join(blocks(two.paper, "latex"))
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{body}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_a_law_with_rounded_parameters_predicts_the_runs_as_the_law_does(two):
    fit = two.fit
    for one in record(fit).fits:
        digits = digits_of(fit, one)
        rounded = {
            p.term: float(rounding.shown(p.estimate, n))
            for p, n in zip(one.parameters, digits, strict=True)
        }
        points = fit.points[fit.points["group"] == one.group]
        data = {"N": points["n_params"].to_numpy(), "D": points["n_samples"].to_numpy(float)}
        moved = fit.law.loss(fit.law.theta(rounded), data) - fit.loss(one.group, **data)
        assert np.abs(moved).max() <= 0.1 * one.rmse
        shown = [rounding.shown(p.estimate, n) for p, n in zip(one.parameters, digits, strict=True)]
        assert all(f"| {number} |" in two.paper for number in shown)
        errors = [p.std_error for p in one.parameters]
        assert all(f"| {rounding.error(error)} |" in two.paper for error in errors)
        assert max(len(re.sub(r"[-.]|^0\.0*", "", number)) for number in shown) <= 6


def test_a_fit_without_intervals_has_no_column_and_no_sentence_for_them(chinchilla_runs, tmp_path):
    fit = fit_law(chinchilla_runs(noise=0.003), "chinchilla", bootstrap=0, fixed={"E": 1.69})
    text = "".join(file.read_text(encoding="utf-8") for file in export_fit(fit, tmp_path))
    for part in ("[?]", "[nan", "NaN", "std. error", "interval |", "standard errors", "$?$"):
        assert part not in text, part
    page = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert "$E$ was fixed at 1.69" in page and "| E | 1.69 | nats/token | fixed |" in page


def test_a_fit_that_is_not_to_be_used_says_so_before_all_else(chinchilla_runs):
    fit = fit_law(chinchilla_runs(noise=0.003).assign(n_samples=1e9), "chinchilla", bootstrap=0)
    page = paper(fit)
    assert page.startswith("# For a paper\n\n**Verdict: DO NOT USE: ")
    assert text_of(page).startswith(
        "The checks by isoloss [@isoloss] say that these numbers are not"
    )


def test_what_was_held_tied_bounded_and_selected_is_told(chinchilla_runs):
    asked = {"tied": [["alpha", "beta"]], "bounds": {"E": (0.5, None)}, "where": "n_params > 1e7"}
    fit = fit_law(chinchilla_runs(noise=0.003), "chinchilla", bootstrap=0, **asked)
    text = text_of(paper(fit))
    assert (
        r"$\alpha$ and $\beta$ share one value; $E$ was bounded to at least 0.5; runs were" in text
    )
    assert "selected by the filter n_params &gt; 1e7" in text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"objective": "mse", "bootstrap": 0},
            "of the squared difference between predicted and observed loss",
        ),
        (
            {"objective": {"name": "asymmetric_mae", "above": 3}, "bootstrap": 0},
            "weighs 3 times as much where",
        ),
        (
            {"objective": {"of_losses": lambda seen, law: (seen - law) ** 2}, "bootstrap": 0},
            "a penalty of our own",
        ),
        ({"interval": "residual", "bootstrap": 20}, "with residuals of the fit drawn anew"),
        ({"interval": "profile", "bootstrap": 0}, "those of the profile likelihood [@venzon1988"),
        ({"bootstrap": 20, "cluster": "n_params"}, "whole groups of runs alike in n_params drawn"),
        (
            {"holdout": "random", "bootstrap": 0},
            "by the rule random (20 folds) the RMSE is",
        ),
        ({"holdout": "largest_compute", "bootstrap": 0}, "of most compute were held out."),
    ],
)
def test_objective_interval_and_hold_out_are_told_as_they_were(chinchilla_runs, settings, told):
    runs = chinchilla_runs(noise=0.003).iloc[::2].reset_index(drop=True)
    text = text_of(paper(fit_law(runs, "power_law", {"variable": "C"}, **settings)))
    assert told in text
    assert (
        r"$L = E + \frac{A}{C^{\alpha}}$ (Power law in one variable [@henighan2020scaling" in text
    )


def test_a_quantity_that_is_not_the_loss_is_named_in_text_and_latex(make_runs):
    n = np.geomspace(1e6, 1e9, 30)
    runs = make_runs(n, np.full(30, 1e9), 2.0, **{"a_b%": 3 * n**0.3})
    fit = fit_law(runs, "growth", {"variable": "N"}, response="a_b%", bootstrap=0)
    page = paper(fit)
    assert r"$L = E + A N^{\gamma}$, $L$ being a_b%, (Growth as" in text_of(page)
    assert "the logarithms of predicted and observed a_b%;" in text_of(page)
    assert r"$L$ being a\_b\%," in blocks(page, "latex")[0]
    assert "FLOP (" not in page and "Best division" not in page


def test_a_typed_law_is_told_by_its_own_names_and_ranges(make_runs):
    n = np.geomspace(1e6, 1e9, 30)
    error = 0.8 / (1 + (n / 3e7) ** 0.5)
    runs = make_runs(n, np.full(30, 1e9), error, n_unique=np.geomspace(1e7, 1e9, 30))
    formula = "loss = top / (1 + (N / N_half)**a) + 0 * best * U; N_half > 0"
    text = text_of(paper(fit_law(runs, formula=formula, bootstrap=0, loss_unit="error")))
    assert r"\frac{\mathrm{top}}{1 + \left(\frac{N}{N_{\mathrm{half}}}\right)^{a}}" in text
    assert "$U$ of 10M to 1B distinct tokens" in text
    assert "predicted and observed error" in text and not re.search(r"RMSE .* error", text)
    runs = runs.assign(acc=1 - error)
    fit = fit_law(runs, formula="acc = low - high * loss", response="acc", bootstrap=0)
    text = text_of(paper(fit))
    assert " being " not in text and "and loss of 0.11" in text


def test_groups_of_one_doubt_are_told_once(two):
    facts, few = record(two.fit), Doubt("few", "care", "few runs", "add runs")
    alike = [
        replace(one, verdict="with care", reasons="few runs", group=f"g{i}", doubts=(few,))
        for i, one in enumerate(facts.fits * 3)
    ]
    many = replace(facts, fits=tuple(alike), groups=tuple(one.group for one in alike))
    assert verdict(many) == "Verdict: with care (all 6 fits): few runs"
    told = paragraph(two.fit, many, Context(), Markdown())
    assert "ask for care (all 6 fits: few runs)." in told
    assert "RMSE of" not in told.partition("The checks")[2]
    shape = Doubt("shape", "care", "the misfit bends", "fit another law")
    other = replace(alike[0], doubts=(few, shape))
    told = paragraph(two.fit, replace(many, fits=(other, *alike[1:])), Context(), Markdown())
    assert "ask for care (all 6 fits: few runs; g0: the misfit bends)." in told
    mixed = replace(many, fits=(replace(alike[0], verdict="sound", reasons=""), *alike[1:]))
    assert verdict(mixed) == (
        "Verdict: 5 fits, such as g1, loss and g2, loss: with care: few runs; 1 other fit is sound"
    )


def test_growth_of_the_best_division_is_told_with_its_interval(two):
    told = [growth(two.fit, group).n for group in two.fit.groups]
    shown = [f"{one.estimate:.3f} \\[{one.low:.3f}, {one.high:.3f}\\]" for one in told]
    assert f"with $a$ = {shown[0]} for adamw and {shown[1]} for muon." in text_of(two.paper)
    assert "95 % intervals in brackets, from 60 refits; C = 6 N D." in two.paper


def test_a_law_of_mixtures_has_a_row_a_loss_and_its_best_mixture(make_runs, tmp_path):
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    columns = {f"p_{d}": shares[:, i] for i, d in enumerate("abc")}
    columns |= {f"loss_{d}": 2 + np.exp(-2 * shares[:, i]) for i, d in enumerate("abc")}
    file = tmp_path / "mixtures.csv"
    pd.DataFrame(columns).to_csv(file, index=False)
    result = isoloss.law_of_table(file, "linear_mixture", bootstrap=20)
    page = result.paper
    assert "There is a fit for each of 3 losses." in page and "| loss_b | 20 |" in page
    assert "## Best mixture" in page and "The estimator is: least squares, ridge 1e-6." in page
    assert "[@liu2024regmix]" in page and "nan" not in page


def test_budgets_of_a_page_are_those_that_are_asked_for(chinchilla_runs):
    fit = fit_law(chinchilla_runs(noise=0.003), "chinchilla", bootstrap=0)
    page = paper(fit, context_of(fit, flops=[3e22]))
    assert "| 3e22 |" in page and page.count("| 1e2") == 0


def test_a_gain_beyond_the_runs_of_either_group_is_told_as_an_extrapolation(make_runs):
    flops = np.geomspace(1e18, 1e21, 12)
    losses = {"a": 1.7 + 4000 * flops**-0.18, "b": 1.7 + 4000 * (flops / 2) ** -0.18}
    losses["never"] = 2.5 + 4000 * flops**-0.18
    group = np.repeat(list(losses), len(flops))
    c = np.tile(flops, len(losses))
    runs = make_runs(np.sqrt(c / 6 / 20), np.sqrt(c / 6 * 20), np.concatenate([*losses.values()]))
    fit = fit_law(runs.assign(group=group, n_flops=c), "power_law", {"variable": "C"}, bootstrap=0)
    page = paper(fit, context_of(fit, flops=[1e21]))
    assert "0.5 at $10^{21}$ FLOP (2 times the largest run, an extrapolation)" in text_of(page)
    assert "| b | a | 1e21 | 2 | " in page and "| never reached |" in page
    assert "never reached &" in blocks(page, "latex")[-1] or "never reached \\\\" in page
    assert "a (12 runs), b (12 runs) and never (12 runs)" in text_of(page)


def test_the_error_over_folds_is_told_for_each_group_over_all_its_runs(make_runs):
    n = np.tile(np.geomspace(1e6, 1e9, 16), 2)
    noise = np.random.default_rng(0).normal(0, [[0.001] * 16 + [0.01] * 16])[0]
    runs = make_runs(n, 20 * n, (1.7 + 40 * n**-0.2) * np.exp(noise))
    runs = runs.assign(group=np.repeat(["calm", "loud"], 16))
    fit = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0, holdout="leave_one_out")
    calm, loud = record(fit).fits
    seen = fit.residuals
    errors = (seen["predicted_unseen"] - seen["loss"]).groupby(seen["group"])
    squares = errors.apply(lambda error: np.sqrt(np.mean(error**2)))
    assert np.isclose([calm.fold_rmse, loud.fold_rmse], squares[["calm", "loud"]]).all()
    told = f"{calm.fold_rmse:.3g} nats/token for calm and {loud.fold_rmse:.3g} nats/token for loud"
    assert f"(16 folds of each fit) the RMSE is {told}." in text_of(paper(fit))


@pytest.mark.parametrize("law", ["envelope", "isoflop_parabolas"])
def test_a_fit_without_an_estimate_writes_its_files(make_runs, law, tmp_path):
    n = np.geomspace(1e7, 1e9, 8)
    fit = fit_law(make_runs(n, 20 * n, 2 + 400 / n**0.34), law, bootstrap=4)  # budgets of one size
    assert fit.params["estimate"].isna().all()
    files = {file.name: file.read_text("utf-8") for file in export_fit(fit, tmp_path)}
    assert "DO NOT USE" in files["paper.md"] and "nan" not in files["params.tex"]

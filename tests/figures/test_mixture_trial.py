"""The trial of a best mixture: who wins, by how much, and how the figure and the summary say so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.figures import mixture_trial
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law
from isoloss.fitted.trial import trial_of
from isoloss.report.mixtures import best_mixtures, trial
from isoloss.report.summary import summarize

DOMAINS = ("code", "prose", "talk")
WEIGHTS = {"code": 3.0, "prose": 1.0}
NATURAL = (0.2, 0.3, 0.5)


def loss_of(shares: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Losses by domain: the more of a domain, and a little of prose, the lower."""
    help_ = shares + 0.2 * shares[..., [1]]
    return {d: 3 - size / 32 + 0.05 / (help_[..., i] + 0.05) for i, d in enumerate(DOMAINS)}


@pytest.fixture(scope="module")
def fit(make_runs):
    """A law of the losses of 20 mixtures at each of two sizes, and its best mixtures."""
    parts = []
    for size in (16, 32):
        shares = np.random.default_rng(size).dirichlet([2, 2, 2], 20)
        columns = {f"p_{d}": shares[:, i] for i, d in enumerate(DOMAINS)}
        columns |= {f"loss_{d}": loss for d, loss in loss_of(shares, size).items()}
        ids = {"run_id": [f"{size}-{i}" for i in range(20)]}
        parts.append(make_runs(np.full(20, size), 1e6, 1.0, d_model=size, **columns).assign(**ids))
    fit = fit_law(pd.concat(parts), "mixture_power", group="d_model", bootstrap=6)
    fit = fit.with_best_mixtures(WEIGHTS)
    fit.facts.update({"grouped_by": "d_model", "tag_key": "domain", "sweep": "search"})
    return fit


def tried(fit, make_runs, noise=0.001, shift=0.0, seeds=(0, 1, 2), **mixtures):
    """Tables of a sweep of the best mixture, natural and others, whose losses the law gives."""
    best = fit.tables["best_mixture"]
    best = best[best["group"] == "32"].set_index("domain").loc[list(DOMAINS), "proportion"]
    given = {"chosen": tuple(best), "natural": NATURAL, **mixtures}
    runs, shares, losses = [], [], []
    for weighting, mixture in given.items():
        for seed in seeds:
            run = {"run_id": f"{weighting}-{seed}", "weighting": weighting, "seed": seed}
            runs.append(run)
            at_end = loss_of(np.array(mixture), 32)
            for d, share in zip(DOMAINS, mixture, strict=True):
                about = {"run_id": run["run_id"], "tag_key": "domain", "domain": d}
                shares.append(about | {"proportion": share})
                loss = at_end[d] + noise * (seed - 1) + shift * (weighting == "chosen")
                about |= {"split": "valid", "n_tokens": 9, "error_rate": np.nan}
                losses += [about | {"step": 1, "loss": 9.0}, about | {"step": 5, "loss": loss}]
    n = len(runs)
    table = make_runs(np.full(n, 32), 1e6, 1.0, d_model=32, run_digest="d").drop(columns="run_id")
    small = table.iloc[:1].assign(run_id="small", weighting="natural", seed=0, d_model=16)
    runs = pd.concat([table.assign(**pd.DataFrame(runs)), small], ignore_index=True)
    return runs, pd.DataFrame(shares), pd.DataFrame(losses)


def test_the_mixture_nearest_to_the_best_is_on_trial_and_its_lead_is_held_against_the_noise(
    fit, make_runs
):
    trial = trial_of(fit, *tried(fit, make_runs, uniform=(1 / 3,) * 3), group="32")
    assert trial.weights == {"loss_code": 3.0, "loss_prose": 1.0}
    assert trial.best.weighting == "chosen"
    assert [len(one.losses) for one in trial.contenders] == [3, 3, 3]
    assert trial.seed_sd == pytest.approx(0.001)
    at_end = loss_of(np.array(NATURAL), 32)
    natural = next(one for one in trial.others if one.weighting == "natural")
    assert natural.mean == pytest.approx((3 * at_end["code"] + at_end["prose"]) / 4)
    assert natural.predicted.estimate == pytest.approx(natural.mean, abs=0.01)
    assert natural.predicted.low < natural.predicted.estimate < natural.predicted.high
    assert trial.lead(natural) == natural.mean - trial.best.mean > 0.03
    assert [trial.verdict(one) for one in trial.others] == ["beats", "beats"]
    assert trial.others[0].mean < trial.others[1].mean


@pytest.mark.parametrize(
    ("noise", "shift", "verdict"),
    [(0.001, 0.0, "beats"), (0.5, 0.0, "does not beat"), (0.001, 0.5, "loses to")],
)
def test_the_summary_says_whether_the_best_mixture_wins(
    fit, make_runs, tmp_path, noise, shift, verdict
):
    runs, shares, losses = tried(fit, make_runs, noise, shift)
    given = {"runs": runs, "mixtures": shares, "losses": losses, "timing": tables.empty("timing")}
    for name, table in given.items():
        facts = {"sweep": "trial", "token": "byte", "loss_unit": "nats/byte"}
        tables.write(name, table, tmp_path / f"{name}.parquet", facts)
    fit.save(tmp_path / "fit", law="mixing")
    asked = {"sweep": "trial", "weighting": "chosen", "fit": "mixing", "group": "32"}
    files = [*tmp_path.glob("*.parquet"), *(tmp_path / "fit").iterdir()]
    settings = {
        "study": "s",
        "summary": {"budgets": [], "optima": []},
        "datasets": {},
        "figures": [],
        "trials": [asked],
        "rounds": {},
        "coefficients": {},
    }
    (line,) = [x for x in summarize(settings, files).splitlines() if x.startswith("- **Trial**")]
    trial = trial_of(fit, runs, shares, losses, "chosen", "32")
    lead, sds = trial.lead(trial.others[0]), abs(trial.lead(trial.others[0])) / trial.seed_sd
    assert f"chosen **{verdict}** natural ({-lead:+.4f}, {sds:.1f} seed SDs of" in line
    assert f"natural {trial.others[0].mean:.4f} (3 runs; predicted" in line


def test_a_trial_whose_runs_failed_is_told_in_the_summary(fit, make_runs):
    runs, shares, losses = tried(fit, make_runs)
    runs["status"] = runs["status"].mask(runs["weighting"] == "chosen", "failed")
    asked = {"sweep": "trial", "weighting": "chosen", "fit": "mixing", "group": "32"}
    line = trial(asked, fit, {"runs": runs, "mixtures": shares, "losses": losses})
    assert line.startswith(
        "- **Trial** (trial, mixing) cannot be judged: trial: no run has 'chosen'"
    )


def test_the_summary_gives_the_best_mixture_of_every_group(fit):
    lines = best_mixtures("mixing", fit)
    assert [line.split(" for ")[0] for line in lines] == [
        "- **Best mixture** (mixing, 16)",
        "- **Best mixture** (mixing, 32)",
    ]
    best = fit.best_mixture(WEIGHTS, "32").set_index("domain")
    assert f"code {best.loc['code', 'proportion']:.3f} [" in lines[1]
    assert f"predicted loss {best['loss'].iloc[0]:.4f} [" in lines[1]


def test_one_seed_says_nothing_of_the_noise(fit, make_runs):
    trial = trial_of(fit, *tried(fit, make_runs, seeds=(1,)), group="32")
    assert np.isnan(trial.seed_sd)
    assert trial.verdict(trial.others[0]) == "is below"


def test_the_figure_draws_what_was_predicted_and_what_the_runs_reached(fit, make_runs):
    runs, shares, losses = tried(fit, make_runs)
    inputs = Inputs({"runs": runs, "mixtures": shares, "losses": losses}, {"mixing": fit})
    figure, table = mixture_trial.draw(inputs, "32", "")
    figure.draw_without_rendering()
    left, right = figure.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["chosen", "natural"]
    assert left.get_title().startswith("chosen beats natural: -0.")
    entries = [text.get_text() for text in left.get_legend().get_texts()]
    assert entries[0] == f"predicted, {100 * fit.level:g} % interval"
    labels = [label.get_text() for label in right.get_yticklabels()]
    assert labels == ["code (weight 3)", "prose (weight 1)", "talk"]
    trial = trial_of(fit, runs, shares, losses, group="32")
    for one in trial.contenders:
        rows = table[table["weighting"] == one.weighting].set_index("what")
        assert list(rows.loc["run", "loss"]) == list(one.losses.values())
        assert rows.loc["predicted", "loss"] == one.predicted.estimate
        assert rows.loc["mean", "loss"] == one.mean
        assert list(rows.loc["share", "proportion"]) == list(one.mixture.values())


def test_what_cannot_be_tried_is_told(fit, make_runs):
    made = tried(fit, make_runs)
    for given, group, message in (
        ("chosn", "32", "no run has 'chosn'; did you mean 'chosen'"),
        ("", "33", "group '33' is not in it"),
        ("", "16", "no run of group '16' has its losses"),
    ):
        with pytest.raises(IsolossError, match=message):
            trial_of(fit, *made, given, group)
    plain = type(fit)(
        fit.law, fit.tables, {k: v for k, v in fit.facts.items() if k != "domain_weights"}
    )
    with pytest.raises(IsolossError, match="the fit has no best mixture; give the fit"):
        trial_of(plain, *made)
    options = {"group": "", "tried": "chosn"}
    assert "did you mean" in str(mixture_trial.problems(options, made[0])[0])
    alone = made[0][made[0]["weighting"] == "natural"]
    assert "1 weighting" in str(mixture_trial.problems({"group": "", "tried": ""}, alone)[0])

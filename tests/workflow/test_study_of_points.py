"""A study whose laws are fitted to training curves, and to the mixtures of its own sweep."""

import shutil

import numpy as np
import pandas as pd
import pytest
from running import snakemake, tiny, write

import isoloss
from isoloss.core import tables
from isoloss.fit.points import by_domain, points

FITS = {
    "curve": {
        "card": "learning_curve",
        "sweep": "grid",
        "points": "curves",
        "where": "step > 5 and weighting == 'natural'",
        "group": "d_model",
        "holdout": {"rule": "roll_out", "by": "n_samples", "stages": 3},
        "bootstrap": 10,
    },
    "envelope": {"card": "envelope", "sweep": "grid", "points": "isoflop", "bootstrap": 10},
    "kinds": {
        "card": "transfer_power",
        "sweep": "grid",
        "tag_key": "kind",
        "where": "budget == 6e7",
        "bootstrap": 10,
    },
}
PLOTS = {
    "residuals": {
        "card": "fit_residuals", "sweep": "grid", "fits": ["curve"], "options": {"group": "8"}
    },
    "curves": {"card": "learning_curves", "sweep": "grid", "fits": ["curve"]},
    "response": {"card": "mixture_response", "sweep": "grid", "fits": ["kinds"]},
    "frontier": {"card": "optimal_frontier", "sweep": "grid", "fits": ["envelope"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(finished, source, tmp_path_factory):
    """The finished tiny study with other fits and figures: what snakemake said, and the results."""
    folder = tmp_path_factory.mktemp("points") / "study"
    shutil.copytree(finished[0], folder, copy_function=shutil.copy2)
    study = tiny(source) | {"fit": FITS, "plot": PLOTS}
    process = snakemake(folder, "--configfile", write(folder, study))
    assert process.returncode == 0, process.stdout + process.stderr
    return process, folder / "results" / "tiny"


def test_other_fits_train_nothing_again(fitted):
    assert "train grid" not in fitted[0].stderr
    assert all(f"fit {name} to grid" in fitted[0].stderr for name in FITS)


@pytest.mark.slow
def test_the_study_and_a_notebook_fit_the_same_points(fitted):
    _, results = fitted
    frames = {t: tables.frame(results / f"aggregate/grid/{t}.parquet") for t in (
        "runs", "curves", "mixtures", "losses")}  # fmt: skip
    rows = {
        "curve": points(frames["runs"], "curves", frames["curves"]),
        "envelope": points(frames["runs"], "isoflop", frames["curves"]),
        "kinds": by_domain(frames["runs"], frames["mixtures"], frames["losses"], "kind"),
    }
    for name, fit_points in rows.items():
        settings = {k: v for k, v in FITS[name].items() if k not in ("sweep", "points", "tag_key")}
        again = isoloss.fit_law(
            fit_points, settings.pop("card"), seed=3, loss_unit="nats/byte", **settings
        )
        kept = isoloss.load_fit(results / "fit/grid" / name)
        pd.testing.assert_frame_equal(again.params[list(kept.params)], kept.params)
        assert list(again.points["run_id"]) == list(kept.points["run_id"])


def test_points_of_a_run_are_drawn_together_and_a_roll_out_looks_ahead(fitted):
    fit = isoloss.load_fit(fitted[1] / "fit/grid/curve")
    assert fit.groups == ["4", "6", "8", "12"]
    assert fit.params["ci_method"].str.contains("over of_run").all()
    assert (fit.scores["n_held_out"] > 0).all() and fit.scores["rmse"].notna().all()
    assert (fit.points["step"] > 5).all()
    assert fit.points["of_run"].nunique() == 14


def test_mixtures_and_losses_by_kind_are_fitted(fitted):
    fit = isoloss.load_fit(fitted[1] / "fit/grid/kinds")
    assert "loss_docstring" in fit.responses and "p_docstring" in fit.facts["domains"]
    shares = fit.points[fit.facts["domains"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_the_summary_and_the_figures_speak_of_points(fitted):
    _, results = fitted
    summary = (results / "summary.md").read_text()
    (line,) = [one for one in summary.splitlines() if "**curve**, group 12, " in one]
    assert "; L = E + B / (D + D_0)^β: E " in line
    assert "points of 3 runs" in summary
    drawn = pd.read_parquet(results / "plot/curves.parquet").query("what == 'law'")
    assert set(drawn["group"]) == {"4", "6", "8", "12"}
    drawn = pd.read_parquet(results / "plot/residuals.parquet")
    assert drawn["run_id"].str.contains(" at step ").all()
    assert (
        len(drawn) == (isoloss.load_fit(results / "fit/grid/curve").residuals["group"] == "8").sum()
    )

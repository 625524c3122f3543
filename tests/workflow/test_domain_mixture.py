"""The study of domain mixtures: its design, and a small copy of it run whole."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT, snakemake, write

from isoloss.core import tables
from isoloss.core.problems import StudyError
from isoloss.study import check
from isoloss.train.plan import plan_sweep

STUDY = yaml.safe_load((ROOT / "studies/domain-mixture.yaml").read_text(encoding="utf-8"))
DOMAINS = ["data", "encodings", "interface", "language", "network", "system"]


def test_mixtures_are_searched_at_two_sizes_and_the_best_is_tried_with_three_seeds():
    study = check.check(STUDY)
    search, trial = (plan_sweep(study["train"][sweep]) for sweep in ("search", "trial"))
    assert search["weighting"].nunique() == 24 and len(search) == 24 * 2 * 2
    assert (search.groupby("weighting")[["d_model", "seed"]].nunique() == 2).all(axis=None)
    assert trial.groupby("weighting").size().to_dict() == {"best": 3, "natural": 3, "uniform": 3}
    best = study["expand"]["best"]["mixture"]
    assert set(trial["d_model"].astype(str)) == {best["group"]}
    assert search["d_model"].max() == trial["d_model"].max()
    same = ["n_samples", "batch_items", "peak_learning_rate", "context", "n_layers"]
    (settings,) = search[same].drop_duplicates().to_dict("records")
    assert trial[same].drop_duplicates().to_dict("records") == [settings]


def test_a_figure_of_a_trial_needs_a_fit_that_seeks_a_best_mixture():
    study = yaml.safe_load((ROOT / "studies/domain-mixture.yaml").read_text(encoding="utf-8"))
    study["plot"]["trial"]["fits"] = ["log_linear"]
    study["fit"]["log_linear"]["domain_weights"] = None
    with pytest.raises(StudyError, match="'log_linear' seeks no best mixture; give it `domain_w"):
        check.check(study)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Results of the study with two drawn mixtures and the corners, small and short runs."""
    folder = tmp_path_factory.mktemp("mixture")
    study = yaml.safe_load((ROOT / "studies/domain-mixture.yaml").read_text(encoding="utf-8"))
    study["expand"]["search"]["mixtures"]["points"] = 2
    for sweep in study["train"].values():
        sweep["valid_tokens"], sweep["shards"] = 65536, 2
        sweep["settings"]["n_samples"] = 40000
        for cell in sweep["cells"]:
            cell["d_model"] = 12
    study["expand"]["best"]["mixture"]["group"] = "12"
    for fit in study["fit"].values():
        fit["bootstrap"] = min(10, fit.get("bootstrap", 10))
        fit["holdout"]["repeats"] = 2
    del study["fit"]["exponential_mixing"]  # eight mixtures are too few for it
    for figure in study["plot"].values():
        figure["options"] = {"group": "12"}
        figure["fits"] = [name for name in figure["fits"] if name in study["fit"]]
    process = snakemake(folder, "--configfile", write(folder, study), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results" / "domain-mixture"


@pytest.mark.slow
def test_every_law_has_a_best_mixture_and_predicts_mixtures_that_it_did_not_see(small):
    mixtures = tables.frame(small / "aggregate/search/mixtures.parquet", "mixtures")
    shares = mixtures[mixtures["tag_key"] == "domain"].groupby("run_id")["proportion"]
    assert shares.sum().between(0.999, 1.001).all() and shares.max().max() > 0.75
    for law in ("mixture_power", "log_linear", "linear_mixture"):
        folder = small / "fit/search" / law
        best = tables.frame(folder / "best_mixture.parquet", "best_mixture")
        assert list(best["domain"]) == DOMAINS
        assert best["proportion"].sum() == pytest.approx(1.0, abs=1e-6)
        scores = tables.frame(folder / "scores.parquet", "scores")
        assert set(scores["response"]) == {f"loss_{domain}" for domain in DOMAINS}
        assert np.isfinite(scores["rmse"]).all() and (scores["n_held_out"] == 4).all()


@pytest.mark.slow
def test_the_best_mixture_is_trained_and_the_summary_says_how_it_ends(small):
    mixtures = tables.frame(small / "aggregate/trial/mixtures.parquet", "mixtures")
    runs = tables.frame(small / "aggregate/trial/runs.parquet", "runs")
    tried = runs.loc[runs["weighting"] == "best", "run_id"].iloc[0]
    achieved = mixtures[(mixtures["run_id"] == tried) & (mixtures["tag_key"] == "domain")]
    best = tables.frame(small / "fit/search/mixture_power/best_mixture.parquet")
    np.testing.assert_allclose(
        achieved.set_index("domain")["proportion"].reindex(DOMAINS, fill_value=0.0),
        best.set_index("domain").loc[DOMAINS, "proportion"],
        atol=0.01,
    )
    drawn = pd.read_parquet(small / "plot/trial.parquet")
    assert (drawn["what"] == "run").sum() == 9 and (drawn["what"] == "predicted").sum() == 3
    summary = (small / "summary.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"- \*\*Trial\*\* .*", summary)
    for other in ("natural", "uniform"):
        assert re.search(rf"\*\*(beats|does not beat|loses to)\*\* {other} \([+-]0\.\d+", line)
    assert "- **Best mixture** (mixture_power, 12) for interface 1, network 1: " in summary

"""The study of adaptive rounds: what it asks for, and the whole of it."""

from __future__ import annotations

import pytest
from running import ROOT, snakemake

from isoloss.core import schema, tables
from isoloss.fitted import load_fit
from isoloss.study import check
from isoloss.train.plan import plan_sweep

STUDY = check.check(schema.read(ROOT / "studies/adaptive.yaml"))
ROUNDS = STUDY["train"]["ladder_1"]["round"]


def test_the_question_is_a_hundred_times_the_largest_seeding_run():
    seeds = plan_sweep(STUDY["train"]["ladder_0"])
    assert len(seeds) == 12
    assert ROUNDS["target"] == pytest.approx(100 * seeds["n_flops_6nd"].max(), rel=0.01)
    assert STUDY["plot"]["rounds"]["options"]["target"] == ROUNDS["target"]  # spelled 1.0e12
    assert seeds["n_flops_6nd"].sum() < ROUNDS["budget"] / 5


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of the study."""
    folder = tmp_path_factory.mktemp("adaptive")
    process = snakemake(folder, "--configfile", str(ROOT / "studies/adaptive.yaml"), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results" / "adaptive"


@pytest.mark.slow
def test_rounds_spend_no_more_than_their_budget_and_narrow_the_answer(results):
    runs = tables.frame(results / "aggregate/ladder_3/runs.parquet", "runs")
    # sizes are whole numbers: what is trained differs a little from what was chosen
    assert runs["n_flops_6nd"].sum() < 1.1 * ROUNDS["budget"]
    assert sorted(set(runs["round"])) == [0, 1, 2, 3]
    ratios = []
    for number in range(4):
        best = load_fit(results / f"fit/ladder_{number}/chinchilla").allocate(ROUNDS["target"])
        ratios.append((best["N_high"] / best["N_low"]).item())
    assert ratios[3] < ratios[0] / 2


@pytest.mark.slow
def test_every_run_of_a_round_was_chosen_with_a_reason(results):
    runs = tables.frame(results / "aggregate/ladder_3/runs.parquet", "runs")
    for number in (1, 2, 3):
        choices = tables.frame(results / f"choose/ladder_{number}/choices.parquet", "choices")
        chosen = choices[choices["choice"].notna()]
        of_round = runs[runs["round"] == number]
        assert 0 < len(of_round) <= len(chosen) <= ROUNDS["options"]["runs"]
        assert choices["reason"].str.contains("SD of ln N at C = 1e12 FLOP").all()
        spent = of_round["n_flops_6nd"].sum()
        assert spent == pytest.approx(chosen["n_flops"].sum(), rel=0.15)

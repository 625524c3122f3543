"""A study that simulates studies: its tables, its summary, and what is computed again."""

import pytest
from running import snakemake, write

from isoloss.core import tables
from isoloss.core.problems import StudyError
from isoloss.simulate.simulation import simulate_studies
from isoloss.study.check import check

SPAN = {"from": 1e18, "to": 1e21}
MSE = {"card": "chinchilla", "objective": "mse", "bootstrap": 10}


def study() -> dict:
    """Two simulations, of which one has the N and D of a table."""
    few = {
        "truth": {"card": "chinchilla", "preset": "hoffmann"},
        "plan": {"kind": "seed_ranges", "C": SPAN, "N_to_D": {"from": 5, "to": 80}, "runs": 20},
        "noise": {"kind": "normal", "sd": 0.01},
        "estimators": {"mse": MSE},
        "replicates": 11,
        "budgets": [1e23],
    }
    table = {"table": "runs.csv", "columns": {"N": "N", "D": "D", "loss": "loss"}}
    return {
        "study": "known",
        "aggregate": {"given": table},
        "simulate": {
            "few": few,
            "again": {**few, "plan": {"kind": "runs", "sweep": "given"}, "replicates": 2},
        },
    }


def made(folder, config) -> set[str]:
    """Run the study; the messages of the jobs that simulated."""
    process = snakemake(folder, "--configfile", write(folder, config), "--cores", "2")
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return {line.split(": ")[1] for line in output.splitlines() if ": simulate " in line}


@pytest.fixture
def folder(tmp_path):
    """A folder with a table of runs."""
    rows = [f"{n},{d},3.0" for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10, 1e11)]
    (tmp_path / "runs.csv").write_text("\n".join(["N,D,loss", *rows]), encoding="utf-8")
    return tmp_path


def test_a_study_simulates_and_only_what_changed_is_simulated_again(folder):
    config = study()
    assert made(folder, config) == {"simulate few", "simulate again"}
    results = folder / "results/known"
    trials = tables.frame(results / "simulate/few/trials.parquet", "trials")
    entry = {**config["simulate"]["few"], "seed": 0, "workers": 1}
    same = simulate_studies(**entry)
    assert (trials["estimate"].to_numpy() == same.trials["estimate"].to_numpy()).all()
    summary = (results / "summary.md").read_text(encoding="utf-8")
    assert "**Simulated** (few, mse): 11 studies, 11 fits converged" in summary
    config["simulate"]["few"]["noise"] = {"kind": "none"}
    assert made(folder, config) == {"simulate few"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"plan": {"kind": "runs", "sweep": "gvien"}}, "simulate.few.plan.sweep: 'gvien' is not"),
        ({"plan": {"kind": "runs"}}, "simulate.few.plan.sweep: is missing"),
        ({"plan": {"kind": "grid", "N": SPAN}}, "simulate.few.plan.D: is missing"),
        ({"truth": {"card": "chinchilla", "preset": "x"}}, "simulate.few.truth.preset"),
        ({"estimators": {"mse": {**MSE, "objective": "msee"}}}, "simulate.few.estimators.mse"),
        ({"estimators": {"mse": {"card": "chinchila"}}}, "simulate.few.estimators.mse.card"),
        ({"noise": {"kind": "normal", "mean": 1}}, "simulate.few.noise.mean: not a setting"),
        ({"rounds": {"count": 1, "planner": "scale_op"}}, "simulate.few.rounds.planner"),
        ({"replicates": 0}, "simulate.few.replicates"),
    ],
)
def test_what_is_wrong_with_a_simulation_is_told_before_anything_runs(change, told):
    config = study()
    config["simulate"]["few"] |= change
    with pytest.raises(StudyError) as error:
        check(config, fetch=False)
    assert told in str(error.value)

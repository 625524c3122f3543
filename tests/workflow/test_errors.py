"""A wrong study fails before any job runs, with all its problems at once."""

import pytest
from running import ROOT, snakemake, tiny, write


def test_all_problems_are_said_at_once_and_nothing_is_written(source, tmp_path):
    study = tiny(source)
    study["sed"] = 4
    study["expand"]["docstring_x2"]["kind"]["docstring"] = -2
    study["train"]["grid"]["model"] = "byte_transfomer"
    study["fit"]["chinchilla"]["bootstrap"] = "many"
    study["plot"]["isoloss"]["fits"] = ["chincilla"]
    (tmp_path / "bad.csv").write_text("n,d,loss\n1e6,1e8,3.1\n-,1e9,3.0\n1e8,1e9,-1\n")
    columns = {"N": "n", "D": "d", "loss": "loss"}
    study["aggregate"] = {
        "bad": {"table": str(tmp_path / "bad.csv"), "columns": columns},
        "gone": {"table": str(tmp_path / "gone.csv"), "columns": columns},
        "lacking": {"table": str(tmp_path / "bad.csv"), "columns": {**columns, "loss": "los"}},
    }
    failed = snakemake(tmp_path, "--configfile", write(tmp_path, study))
    assert failed.returncode != 0
    output = failed.stdout + failed.stderr
    for words in (
        "sed: unknown key; did you mean 'seed'?",
        "expand.docstring_x2.kind.docstring: found -2; needs at least 0",
        "no model card is called 'byte_transfomer'; did you mean 'transformer'?",
        'fit.chinchilla.bootstrap: found "many"; needs an integer',
        "'chincilla' is not in fit; did you mean 'chinchilla'?",
        "row 2, column 'n': ",
        "row 3, column 'loss': found -1",
        "gone.csv: cannot be read",
        "no column 'los'; did you mean 'loss'?",
    ):
        assert words in output, (words, output)
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


def test_another_configfile_replaces_the_default_study(source, tmp_path):
    study = {"study": "small", "load": tiny(source)["load"]}
    dry = snakemake(tmp_path, "--configfile", write(tmp_path, study), "-n")
    assert dry.returncode == 0, dry.stderr
    output = dry.stdout + dry.stderr
    assert "train_shard" not in output
    assert "write_summary" in output


def test_the_earlier_key_of_a_figures_fits_is_accepted_and_the_new_one_named(source, tmp_path):
    study = tiny(source)
    figure = study["plot"]["isoloss"]
    figure["laws"] = figure.pop("fits")
    dry = snakemake(tmp_path, "--configfile", write(tmp_path, study), "-n")
    assert dry.returncode == 0, dry.stderr
    printed = dry.stdout + dry.stderr
    assert "plot.isoloss.laws: this key is called `fits` now; rename it" in printed
    assert "plot/isoloss.png" in printed


def test_the_default_study_is_sound_and_its_dry_run_readable():
    dry = snakemake(ROOT, "-n")
    assert dry.returncode == 0, dry.stderr
    output = dry.stdout + dry.stderr
    assert "write_summary" in output or "Nothing to be done" in output


def test_a_key_given_on_the_command_line_changes_the_default_study(tmp_path):
    dry = snakemake(ROOT, "-n", "--config", "study=elsewhere")
    assert dry.returncode == 0, dry.stderr
    assert "results/elsewhere/summary.md" in dry.stdout + dry.stderr


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("study: [", ": is not YAML"),
        ("- a\n- b\n", "keys at top level"),
        ("seed: 3\n", "'study' is missing"),
        ("study: a\nseed: 1\nseed: 2\n", "line 3: key 'seed' appears twice"),
    ],
)
def test_a_file_that_is_no_study_is_said_to_be_none(tmp_path, wrong, words):
    (tmp_path / "study.yaml").write_text(wrong)
    failed = snakemake(tmp_path, "--configfile", str(tmp_path / "study.yaml"), "-n")
    assert failed.returncode != 0
    assert words in failed.stdout + failed.stderr


def test_a_failed_job_leaves_no_table_and_names_its_log(source, tmp_path):
    study = tiny(source)
    study["load"]["few"]["valid_fraction"] = 1e-9
    failed = snakemake(tmp_path, "--configfile", write(tmp_path, study))
    assert failed.returncode != 0
    assert "is in the split 'valid'" in failed.stdout + failed.stderr
    made = {f.parent.parent.name for f in (tmp_path / "results").rglob("*.parquet")}
    assert made <= {"plan"}  # it may be made beside the job that fails
    assert list((tmp_path / "results").rglob("*.tmp")) == []

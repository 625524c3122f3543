"""What snakemake prints of a study whose table has names that are hard to print."""

from running import ROOT, snakemake, write

from isoloss.__main__ import main
from isoloss.core import tables

GROUP = "α–β <b>*x*</b> | $\\frac$\x1b[2J"


def test_a_study_of_any_names_runs_where_nothing_but_ascii_can_be_printed(
    chinchilla_runs, tmp_path, monkeypatch, capsys
):
    runs = chinchilla_runs(noise=0.003)[["n_params", "n_samples", "loss"]]
    runs.columns = ["N", "D", "λ"]
    runs.assign(group=GROUP).to_csv(tmp_path / "runs.csv", index=False, encoding="utf-8")
    columns = {"N": "N", "D": "D", "loss": "λ", "group": "group"}
    table = {"table": str(tmp_path / "runs.csv"), "columns": columns, "keep": ["λ < 99"]}
    study = {
        "study": "hard",
        "aggregate": {"mine": table},
        "fit": {"chin": {"card": "chinchilla", "sweep": "mine", "bootstrap": 5}},
        "plot": {"isoloss": {"card": "isoloss", "sweep": "mine", "fits": ["chin"]}},
    }
    config = write(tmp_path, study)
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    ended = snakemake(tmp_path, "--configfile", config, cold=True, **plain)
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 0, printed
    assert "Traceback" not in printed and "\x1b[2J" not in printed
    assert "group \\u03b1\\u2013\\u03b2 &lt;b&gt;\\*x\\*&lt;/b&gt; \\| &#36;" in printed
    results = tmp_path / "results/hard"
    assert "group α–β &lt;b&gt;" in (results / "summary.md").read_text(encoding="utf-8")
    assert set(tables.frame(results / "fit/mine/chin/summary.parquet")["group"]) == {GROUP}
    again = snakemake(tmp_path, "--configfile", config, cold=True, **plain)
    assert "Nothing to be done" in again.stdout + again.stderr
    monkeypatch.chdir(ROOT)
    assert main(["verify", config, "--directory", str(tmp_path)]) == 0
    assert "all results match the study and the code" in capsys.readouterr().out

"""`export` writes the rows of a weighting for other programs."""

import pandas as pd

from isoloss.core import tables


def of_rows(out, dataset="few", weighting="docstring_x2") -> tuple[str, ...]:
    return ("--dataset", dataset, "--weighting", weighting, "--out", str(out))


def test_the_rows_of_a_weighting_are_written_as_a_run_sees_them(shared, tmp_path):
    names = of_rows(tmp_path / "out")
    code, output = shared.isoloss("export", *names)
    assert code == 0, output
    index = tables.frame(shared.results / "expand/few/docstring_x2/index.parquet")
    written = pd.read_parquet(tmp_path / "out" / "train.parquet")
    assert written["row_id"].tolist() == index["row_id"].repeat(index["copies"]).tolist()
    assert f"{len(written)} rows train, " in output
    assert shared.isoloss("export", *names)[0] == 2
    for named, message in (
        ({"dataset": "fewer"}, "load.fewer: is not in the study; did you mean 'few'?"),
        ({"weighting": "docs"}, "expand.docs: is not in the study; "),
    ):
        code, output = shared.isoloss("export", *of_rows(tmp_path / "no", **named))
        assert (code, message in output) == (2, True), output
    assert not (tmp_path / "no").exists()


def test_rows_that_are_not_those_of_the_study_are_refused(results, tmp_path):
    results.study["expand"]["docstring_x2"]["kind"]["docstring"] = 3.0
    names = of_rows(tmp_path / "out")
    code, output = results.isoloss("export", *names)
    assert code == 2
    assert "expand/few/docstring_x2: is not there, or not what the study makes now" in output
    results.study["expand"]["other"] = {}
    code, output = results.isoloss("export", *of_rows(tmp_path / "out", weighting="other"))
    assert code == 2 and "expand/few/other: no sweep uses these rows" in output
    results.study["expand"]["late"] = {
        "phases": [{"weighting": "natural", "until": 0.5}, {"weighting": "docstring_x2"}]
    }
    code, output = results.isoloss("export", *of_rows(tmp_path / "out", weighting="late"))
    assert code == 2
    message = "expand.late: is a schedule, which has no rows of its own; export a phase: natural, "
    assert message in output
    assert not (tmp_path / "out").exists()

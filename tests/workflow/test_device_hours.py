"""What a study will take is printed before it starts, and refused beyond what it allows."""

from finished_results import status_table
from running import small, snakemake, write


def test_a_start_prints_what_its_sweeps_will_take(finished):
    _, _, output = finished
    lines = output.splitlines()
    head = next(i for i, line in enumerate(lines) if "FLOP left" in line)
    assert lines[head + 1].split()[:3] == ["grid", "16", "16"]
    assert "what a slow machine needs at most" in lines[head + 1]
    assert output.index("FLOP left") < output.index("Finished job")


def test_a_finished_study_has_nothing_left(shared):
    code, output = shared.isoloss("sweep", "--jobs", "2")
    assert code == 0
    line = status_table(output)["grid"]
    assert (line["runs"], line["left"], line["device time"]) == ("16", "0", "0 s")


def test_a_start_beyond_the_device_hours_is_refused_before_anything_runs(source, tmp_path):
    study = small(source) | {"max_device_hours": 1e-6}
    refused = snakemake(tmp_path, "--configfile", write(tmp_path, study))
    output = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "max_device_hours: the runs that are left need" in output
    assert "at most 1e-06 are allowed: raise it, or cut train.grid" in output
    assert "Traceback" not in output
    results = tmp_path / "results"
    assert [path.name for path in results.iterdir()] == [".cache"]
    dry = snakemake(tmp_path, "--configfile", write(tmp_path, study), "-n")
    assert dry.returncode == 0, dry.stdout + dry.stderr

"""`isoloss run` with the workflow that the wheel carries."""

import os

import warm


def test_a_study_run_from_the_repository_is_not_due_from_the_wheel(finished, wheel, tmp_path):
    folder, config, _ = finished
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    arguments = ["run", config, "-n", "--directory", str(folder)]
    process = warm.run("isoloss", *arguments, folder=tmp_path, environment=environment)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    assert f"Snakefile: {wheel}/isoloss/project/Snakefile" in output
    assert "Nothing to be done" in output

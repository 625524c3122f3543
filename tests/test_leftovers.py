"""The jobs of a study that are left in the queue of SLURM: found by name, this study's only."""

import uuid

import pytest
from running import write

from isoloss.__main__ import main, name_of_jobs
from isoloss.study import cluster

FAKE_SQUEUE = """#!/bin/sh
cat <<'END'
{lines}
END
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A maker of a `squeue` that knows some jobs, and a `scancel` that notes what it is given."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)

    def script(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def fill(*jobs: tuple[str, str]) -> None:
        names = [(number, f"{prefix}_{uuid.uuid4()}") for number, prefix in jobs]
        lines = [f"{number}|RUNNING|n1|{name}|rule_train_shard" for number, name in names]
        script("squeue", FAKE_SQUEUE.format(lines="\n".join(lines)))
        script("scancel", f"#!/bin/sh\necho $* >> {tmp_path}/cancelled\n")

    fill.script = script
    return fill


def name_of(study, folder):
    return cluster.job_name(study, folder)


def test_the_jobs_of_a_study_are_listed_and_those_of_no_other(queue, tmp_path, capsys):
    study = write(tmp_path, {"study": "a"})
    others = [name_of("a-b", tmp_path), name_of("a", tmp_path / "elsewhere"), "isoloss-a"]
    queue(("11", name_of("a", tmp_path)), *zip("234", others, strict=True))
    assert main(["leftovers", study]) == 0
    assert capsys.readouterr().out == (
        "11  RUNNING  n1  train_shard\n1 job in the queue; --cancel cancels them\n"
    )
    assert not (tmp_path / "cancelled").exists()


def test_they_are_cancelled_by_their_ids(queue, tmp_path, capsys):
    study, name = write(tmp_path, {"study": "a"}), name_of("a", tmp_path)
    queue(("11", name), ("12_3", name), ("13", name_of("b", tmp_path)))
    assert main(["leftovers", study, "--cancel"]) == 0
    assert "2 jobs cancelled" in capsys.readouterr().out
    assert (tmp_path / "cancelled").read_text() == "11 12_3\n"


def test_a_queue_without_them_is_said_and_nothing_is_cancelled(queue, tmp_path, capsys):
    queue(("13", name_of("b", tmp_path)))
    assert main(["leftovers", write(tmp_path, {"study": "a"}), "--cancel"]) == 0
    assert capsys.readouterr().out == "no jobs of this study are in the queue\n"
    assert not (tmp_path / "cancelled").exists()


def test_a_controller_that_does_not_answer_is_an_error(queue, tmp_path, capsys):
    queue.script("squeue", "#!/bin/sh\necho 'squeue: error: one\nsqueue: no route' >&2\nexit 1\n")
    assert main(["leftovers", write(tmp_path, {"study": "a"})]) == 2
    assert capsys.readouterr().err == (
        "isoloss leftovers: squeue: no route; "
        "try again when `scontrol ping` says that the controller is up\n"
    )


def test_a_machine_without_slurm_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["leftovers", write(tmp_path, {"study": "a"})]) == 2
    assert "squeue is not on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("study", ["a", "x" * 300, "α β", "$(touch x)"])
def test_a_name_is_one_that_the_executor_takes(study, tmp_path):
    name = name_of(study, tmp_path)
    assert name.startswith("isoloss-")
    assert len(name) <= 50
    assert name.replace("-", "").replace("_", "").isascii()
    assert name.replace("-", "").replace("_", "").isalnum()


def test_the_jobs_of_a_module_are_those_of_the_workflow_that_uses_it(queue, tmp_path, capsys):
    (tmp_path / "paper.yaml").write_text("laws: {study: a}\n")
    for given in ([], ["--configfile", "paper.yaml"]):
        sent = name_of_jobs(given)
        queue(("11", sent), ("12", name_of("a", tmp_path)))
        study = write(tmp_path, {"study": "a"})
        assert main(["leftovers", study, "--results", "paper/laws"]) == 0
        assert capsys.readouterr().out.startswith("11  RUNNING")
        assert main(["leftovers", study]) == 0  # of a study of its own
        assert capsys.readouterr().out.startswith("12  RUNNING")

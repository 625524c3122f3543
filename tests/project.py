"""A copy of the project with the results of a study, and what people change in them."""

import copy
import os
import re
import shutil
from pathlib import Path

from running import ROOT, snakemake, write

from isoloss.records.store import Store
from isoloss.study.check import check
from isoloss.train.plan import plan_sweep


class Project:
    """What a person does to a project: edit the study or the code, look, run.

    `sweep` is the sweep that changes are made to, `budget` one of new runs in FLOP; `source` the
    library that the study reads, if it can be edited.
    """

    def __init__(self, home: Path, results: Path, study: dict, sweep: str, budget=6e7, source=None):
        self.root, self.folder = home / "project", home / "study"
        self.study, self.sweep, self.budget, self.source = study, sweep, budget, source
        for part in ("workflow", "profiles", "envs"):
            shutil.copytree(ROOT / part, self.root / part)
        for file in ("Snakefile", "config.yaml"):
            shutil.copy2(ROOT / file, self.root / file)
        for part in ("results", ".snakemake"):
            shutil.copytree(results / part, self.folder / part)
        self.library = self.root / "workflow" / "isoloss"
        self.results = self.folder / "results" / study["study"]
        self.store = Store(self.results / "store")

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace a piece of the library's code, once."""
        path = self.library / file
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after, 1), encoding="utf-8")

    def append(self, file: str, code: str) -> bytes:
        """Add code to the end of a module of the library; what it held before."""
        path = self.library / file
        before = path.read_bytes()
        path.write_bytes(before + f"\n\n{code}".encode())
        return before

    def call(self, *arguments: str) -> str:
        """Run snakemake, which must succeed; what it said."""
        config = write(self.folder, self.study, "edited.yaml")
        process = snakemake(self.folder, *arguments, "--configfile", config, root=self.root)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout + process.stderr

    def due(self) -> dict[str, int]:
        """Rule to number of jobs that a dry run announces, targets left out."""
        output = self.call("-n")
        counts = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", output, flags=re.M)}
        assert counts or "Nothing to be done" in output
        return {rule: n for rule, n in counts.items() if rule not in ("all", "total")}

    def made(self, *targets: str) -> set[str]:
        """Run the study; the messages of the jobs that were run, one for each."""
        return set(re.findall(r"^Job \d+: (.*)$", self.call(*targets), flags=re.M))

    def starts(self) -> list[str]:
        """The runs whose training was started, by the journal."""
        return [line["run_id"] for line in self.store.journal() if line["event"] == "start"]

    def planned(self) -> dict[str, str]:
        """Run to shard, of the sweep that is changed."""
        plan = plan_sweep(check(copy.deepcopy(self.study))["train"][self.sweep])
        return dict(zip(plan["run_id"], plan["shard"], strict=True))

    def cell(self, **settings) -> None:
        """Add a cell to the sweep."""
        self.study["train"][self.sweep]["cells"].append(settings)


def nothing(project):
    """As it is."""


def touched(project):
    """Every source file has a new time."""
    for path in project.root.rglob("*"):
        os.utime(path)


def reordered(project):
    """The study's keys stand in another order."""

    def turned(value):
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return value

    order = project.study["plot"]
    project.study = turned(project.study)
    project.study["plot"] = {name: project.study["plot"][name] for name in order}


def commented(project):
    """Comments and docstrings are edited."""
    project.edit(
        "trainers/builtin.py", "    batches =", "    # the order of the items\n    batches ="
    )
    project.edit("fit/law.py", '"""Fit a law to runs: the room', '"""Fit one law to runs: the room')
    project.edit("figures/isoloss.py", '"""The N-D plane', '"""A picture of the N-D plane')


def cloned(project):
    """The project and its results are copied elsewhere with their times, .snakemake is not."""
    clone = project.folder.with_name("clone")
    shutil.copytree(project.folder, clone, ignore=shutil.ignore_patterns(".snakemake"))
    project.folder = clone


def styled(project):
    """A figure's code is edited."""
    project.edit("figures/isoloss.py", "linewidth=2,", "linewidth=3,")


def reset(project):
    """A figure's option is edited."""
    project.study["plot"]["isoloss"]["options"] = {"reach": 3}


def refitted(project):
    """A law's setting is edited."""
    project.study["fit"]["power_law"]["delta"] = 0.02


def recarded(project):
    """A law's code is edited."""
    project.edit("laws/chinchilla.py", "def make(", "UNUSED = 1\n\n\ndef make(")


def one_more_law(project):
    """A law is added, and to a figure."""
    project.study["fit"]["in_d"] = {
        "card": "power_law",
        "options": {"variable": "D"},
        "sweep": project.sweep,
        "bootstrap": 20,
    }
    project.study["plot"]["predicted_observed"]["fits"].append("in_d")


def one_more_size(project):
    """A size is added."""
    project.cell(n_flops=project.budget, d_model=14)


def one_more_seed(project):
    """A seed is added."""
    project.cell(n_flops=project.budget, d_model=8, seed=7)


def one_more_mixture(project):
    """A weighting is added, and a run of it."""
    project.study["expand"]["no_comments"] = {"kind": {"comment": 0}}
    project.cell(n_flops=project.budget, d_model=8, weighting="no_comments")


def retrained(project):
    """One training setting of one sweep is edited."""
    project.study["train"][project.sweep]["settings"]["weight_decay"] = 0.02


def reweighted(project):
    """A weighting is edited."""
    project.study["expand"]["docstring_x2"]["kind"]["docstring"] = 3.0


def same_rows(project):
    """The dataset has one more file, in which there is nothing."""
    (project.source / "empty.py").write_text("")


def other_rows(project):
    """A file of the dataset is edited."""
    with (project.source / "queue.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef added():\n    return 1\n")


def loaded_otherwise(project):
    """Code of the load room is edited, and makes the same rows."""
    project.edit("load/rows.py", "_ID_BYTES = 16", "_ID_BYTES = 8 + 8")


def drawn_otherwise(project):
    """Code of the plot room is edited."""
    project.edit("plot/draw.py", "out = Path(out)", "out = Path(str(out))")


def optimised_otherwise(project):
    """Code of the optimiser is edited."""
    project.edit("trainers/_optimizers.py", "count.add_(1)", "count.add_(2)")


def written_otherwise(project):
    """Code that writes files is edited."""
    project.edit("core/tables.py", "compression=compression", 'compression="snappy"')

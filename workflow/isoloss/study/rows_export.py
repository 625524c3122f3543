"""The rows of a study's weighting as files for other programs."""

from __future__ import annotations

from pathlib import Path

from isoloss.core import tokens
from isoloss.core.phases import phases_of
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.expand.export import Expanded, export_rows
from isoloss.records import manifest
from isoloss.study.flow import Flow


def export(flow: Flow, dataset: str, weighting: str, out: Path, form: str) -> dict[str, int]:
    """Write the rows of a weighting into a new folder; see `export_rows`.

    Args:
        flow: the study with its results.
        dataset: one of its `load`.
        weighting: one of its `expand`.
        out: the folder.
        form: `parquet` or `datasets`.

    Returns:
        Split to the number of rows.

    Raises:
        IsolossError: there is no such dataset or weighting, or its rows are not there, or not those
            that the study makes now.
    """
    named = {"load": dataset, "expand": weighting}
    wrong = [
        Problem(f"{section}.{name}", "is not in the study", nearest(name, flow.config[section]))
        for section, name in named.items()
        if name not in flow.config[section]
    ]
    if wrong:
        raise IsolossError(*wrong)
    if (phases := phases_of(flow.config["expand"][weighting])) is not None:
        one_of = ", ".join(phase["weighting"] for phase in phases)
        reason = "is a schedule, which has no rows of its own"
        raise IsolossError(Problem(f"expand.{weighting}", reason, f"export a phase: {one_of}"))
    label = f"expand/{dataset}/{weighting}"
    if label not in flow.by_label:
        remedy = "use the weighting in a sweep of this dataset (a cell's `weighting`)"
        raise IsolossError(Problem(label, "no sweep uses these rows, so they are not made", remedy))
    load, expand = flow.root / "load" / dataset, flow.root / label
    made = {
        f"load/{dataset}": flow.is_current("load", dataset=dataset),
        label: flow.is_current("expand", dataset=dataset, weighting=weighting),
    }
    for place, is_current in made.items():
        if not is_current:
            reason = "is not there, or not what the study makes now"
            raise IsolossError(Problem(place, reason, "run the study with snakemake first"))
    expanded = Expanded(
        load / "rows.parquet", expand / "index.parquet", load / "audit.parquet", load / tokens.NAME
    )
    for file in (expanded.rows, expanded.index, expanded.audit, expanded.examples):
        manifest.check(file)
    return export_rows(expanded, out, form)

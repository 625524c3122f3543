"""Definition of the stage summarize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.core import registry, rounds, weightings
from isoloss.core.stages import Argument, Stage, observed

_OF_RUNS = ("runs", "losses", "timing")


class Summarize(Stage):
    """The summary of a study is written."""

    name = "summarize"
    about = "Write the summary of a study: its runs, fits and figures in a few lines."
    path, out = "summary.md", "the Markdown file"
    entry = "isoloss.report.summary"
    after = ("load", "observe", "aggregate", "fit", "choose", "simulate")
    arguments = (
        Argument(
            "tables",
            "runs, losses and timing of sweeps, tables of fits, choices, audits, recovery, LLCs",
            many=True,
            required=False,
        ),
    )
    target = True

    def jobs(self, study):
        """One job for the study."""
        yield {}

    def settings(self, study):
        """What the summary says, and the names in it."""
        config = study.config
        names = {"figures": [*config["plot"]], "datasets": self._datasets(study)}
        names["trials"] = _trials(config)
        names["rounds"] = {last: chosen for last, chosen in self._rounds(study).items() if chosen}
        names["coefficients"] = _coefficients(config)
        return {key: config[key] for key in ("summary", "study")} | names

    def cards(self, study):
        """Those of all laws."""
        return [("law", fit["card"]) for fit in study.config["fit"].values()]

    def inputs(self, study):
        """Runs and fits of all sweeps; of rounds those of the last, and the choices of all."""
        by_sweep = self._rounds(study)
        sweeps = [*by_sweep, *study.config["aggregate"]]
        chosen = [f"choose/{one}/choices.parquet" for of in by_sweep.values() for one in of]
        runs = [f"aggregate/{sweep}/{table}.parquet" for sweep in sweeps for table in _OF_RUNS]
        audits = [f"load/{name}/audit.parquet" for name in set(self._datasets(study).values())]
        fits = [
            f"fit/{entry['sweep']}/{fit}/{table}.parquet"
            for fit, entry in study.config["fit"].items()
            for table in registry.FIT_TABLES
        ]
        trials = [f"aggregate/{trial['sweep']}/mixtures.parquet" for trial in _trials(study.config)]
        recovery = [f"simulate/{name}/recovery.parquet" for name in study.config["simulate"]]
        observations = _coefficients(study.config)
        llc = [file for name in observations for file in observed(study, name, "llc")]
        tables = runs + list(dict.fromkeys(trials)) + chosen + fits + sorted(audits) + recovery
        return {"tables": tables + llc}

    def datasets(self, study):
        """Those of all sweeps."""
        return list(self._datasets(study).values())

    @staticmethod
    def _rounds(study):
        """Sweep to its rounds, none for many; only the last round of several is a key."""
        earlier = rounds.before_others(study.config)
        sweeps = [sweep for sweep in study.config["train"] if sweep not in earlier]
        return {sweep: rounds.so_far(study.config, sweep)[1:] for sweep in sweeps}

    @staticmethod
    def _datasets(study):
        """Sweep to the dataset that its runs are trained on."""
        sweeps = study.config["train"].items()
        return {name: sweep["dataset"] for name, sweep in sweeps if "dataset" in sweep}

    def run(self, job, given):
        """Write the summary."""
        job.takes(*given["tables"])
        job.makes(lambda out: self.code.run(job.specification, given["tables"], out))


def _coefficients(config: Mapping[str, Any]) -> dict[str, str]:
    """The observations of learning coefficients, and the sweeps that they measure."""
    earlier = rounds.before_others(config)
    return {
        name: entry["sweep"]
        for name, entry in config["observe"].items()
        if "llc" in registry.tables_of(entry["card"]) and entry["sweep"] not in earlier
    }


def _trials(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """The best mixtures of fits that sweeps train: sweep, weighting, fit and its group."""
    earlier = rounds.before_others(config)
    return [
        {
            "sweep": sweep,
            "weighting": name,
            "fit": fit,
            "group": config["expand"][name]["mixture"].get("group", ""),
        }
        for sweep, entry in config["train"].items()
        if entry.get("dataset") is not None and sweep not in earlier
        for name in _weightings(config, sweep)
        if (fit := weightings.fit_of(config, name)) is not None
    ]


def _weightings(config: Mapping[str, Any], sweep: str) -> list[str]:
    """The weightings of the runs gathered under the name of a sweep, sorted."""
    gathered = rounds.so_far(config, sweep)
    return sorted({name for one in gathered for name in weightings.of_sweep(config, one)})


STAGES = (Summarize(),)

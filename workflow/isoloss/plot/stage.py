"""Definition of the stage plot."""

from __future__ import annotations

from isoloss.core import registry, rounds
from isoloss.core.stages import Argument, Stage, observed


class Plot(Stage):
    """A figure is drawn."""

    name = "plot"
    about = "Draw a figure."
    path, out = "plot/{figure}.png", "the PNG; PDF, caption and table go beside it"
    entry = "isoloss.plot.job"
    after = ("aggregate", "fit", "observe", "choose", "simulate")
    arguments = (
        Argument("figure", "one of the study's `plot`", metavar="NAME"),
        Argument("tables", "the tables that its card needs", many=True),
    )
    sections = (("figure", "plot"),)
    uses_roles = ("runs",)
    packages = ("matplotlib", "numpy")
    target = True

    def jobs(self, study):
        """One job for each figure."""
        for figure in study.config["plot"]:
            yield {"figure": figure}

    def settings(self, study, figure):
        """The figure's entry."""
        return {"plot": study.config["plot"][figure]}

    def cards(self, study, figure):
        """Its own, and those of the laws of its fits and of the observation that it shows."""
        entry = study.config["plot"][figure]
        laws = [("law", study.config["fit"][fit]["card"]) for fit in entry["fits"]]
        cards = [("figure", entry["card"]), *laws]
        if entry.get("observation") is not None:
            cards.append(("observable", study.config["observe"][entry["observation"]]["card"]))
        return cards

    def inputs(self, study, figure):
        """The tables of its sweep, fits and observation, or its simulation, that its card reads."""
        entry = study.config["plot"][figure]
        sweep, fits = entry.get("sweep"), self._fits(study, entry)
        paths = []
        for table in registry.inputs(entry["card"]):
            stage, name = table.split("/")
            if stage == "fit":
                paths += [f"fit/{one}/{fit}/{name}.parquet" for one, fit in fits]
            elif stage == "observe":
                paths += observed(study, entry["observation"], name)
            elif stage == "choose":
                chosen = rounds.so_far(study.config, sweep)[1:]
                paths += [f"choose/{one}/{name}.parquet" for one in chosen]
            elif stage == "simulate":
                paths.append(f"simulate/{entry['simulation']}/{name}.parquet")
            else:
                paths.append(f"{stage}/{sweep}/{name}.parquet")
        return {"tables": paths}

    @staticmethod
    def _fits(study, entry):
        """Sweep and name of each fit shown; with the choices of rounds, of the fit to every one."""
        by_round = "choose/choices" in registry.inputs(entry["card"])
        fits = []
        for fit in entry["fits"]:
            before = rounds.decided_by(study.config, fit) if by_round else []
            fits += [(one, fit) for one in [*before, study.config["fit"][fit]["sweep"]]]
        return fits

    def datasets(self, study, figure):
        """The one of the sweep that it shows, or that its simulation takes the runs of."""
        entry = study.config["plot"][figure]
        if "simulation" in entry:
            entry = study.config["simulate"][entry["simulation"]]["plan"]
        return super().datasets(study, sweep=entry.get("sweep"))

    def run(self, job, given):
        """Draw the figure."""
        job.takes(*given["tables"])
        job.makes(lambda out: self.code.run(job.specification, given["tables"], out))


STAGES = (Plot(),)

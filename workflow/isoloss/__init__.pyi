"""The public names for type checkers and editors; __init__.py fetches them when they are used."""

from isoloss import chinchilla as chinchilla
from isoloss.aggregate.table import read_runs as read_runs
from isoloss.discovery.choice import choose_law as choose_law
from isoloss.discovery.discovery import discover as discover
from isoloss.expand.by_weight import expand_rows_by_weight as expand_rows_by_weight
from isoloss.expand.by_weight import merge_weights_maps as merge_weights_maps
from isoloss.expand.by_weight import resolve_row_weight as resolve_row_weight
from isoloss.expand.by_weight import weight_distribution as weight_distribution
from isoloss.expand.mixture import mixture_weights as mixture_weights
from isoloss.expand.rows import expand_rows as expand_rows
from isoloss.fit.compare import compare_laws as compare_laws
from isoloss.fit.compare import sensitivity as sensitivity
from isoloss.fit.law import fit_law as fit_law
from isoloss.fitted import Fit as Fit
from isoloss.fitted import load_fit as load_fit
from isoloss.fitted.chain import chain as chain
from isoloss.fitted.export import export_fit as export_fit
from isoloss.fitted.presets import compare_presets as compare_presets
from isoloss.fitted.presets import preset as preset
from isoloss.logs.read import import_runs as import_runs
from isoloss.logs.read import read_log as read_log
from isoloss.observables.structural_entropy import structural_entropies as structural_entropies
from isoloss.posterior.datatree import compute_llc as compute_llc
from isoloss.posterior.verbs import llc as llc
from isoloss.quickfit.law import law_of_table as law_of_table
from isoloss.simulate.simulation import simulate_studies as simulate_studies

"""Room 6. Laws are fitted: best optimum over many starts, bootstrap intervals, held-out error."""

from isoloss.core import lazy

__getattr__ = lazy.names(__name__, {"fit_law": "isoloss.fit.law"})

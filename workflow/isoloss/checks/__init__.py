"""Questions to the runs and to a fit of them, before anybody believes it.

A check is a function of `Evidence` that yields a `Finding` for each doubt; `run.CHECKS` lists them,
and `limits` holds every threshold. The verdict on a fit is the worst grade among its findings.
"""

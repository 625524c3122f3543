"""How a result came about: the store of runs, manifests, digests of code, versions."""

"""Read logs of runs that other programs trained: points, last values, configurations."""

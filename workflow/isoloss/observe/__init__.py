"""Room 4. Trained models are measured: an observable card looks at the weights of every run."""

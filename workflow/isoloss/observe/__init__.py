"""The stage observe: measure trained models; an observable card reads the weights of a run."""

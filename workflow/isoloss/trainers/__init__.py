"""Trainer cards. A card plans a run and trains a task; see `_trainer.py`."""

"""Task cards. A card makes the two sides of a dataset and a task of them; see `_task.py`."""

"""Room 3. A sweep is spelled out (plan.py), then trained shard by shard (shard.py, run.py).

Nothing is imported here: the plan is made without torch.
"""

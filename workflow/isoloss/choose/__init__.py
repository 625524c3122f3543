"""The stage choose: the runs of the next round of a sweep, by a planner card and the last fit."""

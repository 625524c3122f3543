"""Figure cards. A card offers `draw(inputs, **options)`; see _figure.py.

INPUTS are the tables that it reads beyond those of every figure (`registry.inputs`).
"""

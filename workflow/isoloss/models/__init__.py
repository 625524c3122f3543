"""Model cards. A card counts its parameters and FLOP without torch, and builds a module.

See `_model.py`.
"""

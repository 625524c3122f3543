"""Figure cards. A card names its INPUTS and offers `draw(inputs, **options)`; see _figure.py."""

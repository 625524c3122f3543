"""Observable cards. A card offers QUANTITIES, and `observe(weights, **options)` measures them."""

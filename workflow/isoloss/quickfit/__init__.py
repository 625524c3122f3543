"""A law fitted to a user's table, without a study."""

"""Law cards. A card describes its law and offers `make(**options) -> Law`; see _law.py."""

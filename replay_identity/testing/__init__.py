"""For tests: users of every kind, and what vendors may answer."""

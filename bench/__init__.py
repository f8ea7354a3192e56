"""Benches: one script a question, one table each. Run them with ``make bench``."""

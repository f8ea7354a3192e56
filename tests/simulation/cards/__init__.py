"""Turns of all that a card can show, with faults on each endpoint, by seed."""

"""What people read of a turn.

A turn's state, its text cut into blocks and kept as it was, the cards that show it, the plan
of calls from what is shown to what is wanted, and the cards that ask for approval.
"""

"""Pure rules of larkd: messages, codecs, state machines, rendering, budgets.

Nothing here runs a loop, opens a socket, reads a clock or draws a random number;
time, ids and randomness are arguments. ``actors`` is everything that runs.
"""

__version__ = "0.1.0"

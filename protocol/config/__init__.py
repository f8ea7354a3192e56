"""What an operator configures.

Keys, their checks, the settings they make, the places of files, and the findings of
``larkd doctor``.
"""

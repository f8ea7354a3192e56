"""The whole daemon in one process, under a virtual clock, by a seed."""

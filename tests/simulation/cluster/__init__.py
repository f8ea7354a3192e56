"""Two nodes of a cluster in one simulated world, under its clock."""

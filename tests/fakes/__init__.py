"""Programs that stand in for what can't be had offline."""

"""Proxies: what connects agent sessions to the daemon."""

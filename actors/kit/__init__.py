"""Trio tools that know nothing of leases or Feishu."""

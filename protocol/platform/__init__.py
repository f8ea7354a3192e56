"""Feishu as larkd knows it.

Outcomes of calls and their codes, frames of the long connection, events and what messages
contain, and the budgets of calls.
"""

"""Agents: those started from a chat, each the child process ``larkd acp``."""

from actors.agents.actor import END_WITHIN_S, AgentsSettings, RunAgent, run, run_process

__all__ = ["END_WITHIN_S", "AgentsSettings", "RunAgent", "run", "run_process"]

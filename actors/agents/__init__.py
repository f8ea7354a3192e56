"""Agents: those started from a chat, each the child process ``larkd acp``."""

from actors.agents.actor import AgentsSettings, run
from actors.agents.process import END_WITHIN_S, RunAgent, run_process

__all__ = ["END_WITHIN_S", "AgentsSettings", "RunAgent", "run", "run_process"]

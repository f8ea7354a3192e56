"""A stand-in for the Feishu platform that anyone can run. It shares no code with the daemon."""

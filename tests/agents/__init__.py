"""Real coding agents from npm, on a stand-in for the models they call.

``make agents`` installs them and runs each through the sandbox.
"""

"""What crosses the TCP connection between the daemon and its proxies.

Messages and their codec, frames, the proof of a role, and the rules of one connection as a
machine without I/O.
"""

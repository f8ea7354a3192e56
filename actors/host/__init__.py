"""The machine: files, directories, tokens, logs, exit statuses.

It knows no actor; the daemon, the command line and the proxies share it.
"""

"""The application: resources, mailboxes, the supervision tree.

Also the order of leaving and the sandbox mode. No domain logic lives here.
"""

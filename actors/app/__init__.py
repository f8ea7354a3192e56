"""The application: resources, mailboxes, the supervision tree.

Also the order of stopping and the sandbox mode. No domain logic lives here.
"""

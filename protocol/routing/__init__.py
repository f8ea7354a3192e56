"""Which session a message goes to, and who may send one.

The lease and its tools, the remembered sessions, the states of a row, access and pairing, and
the commands of the chat.
"""

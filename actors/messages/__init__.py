"""What each actor accepts, one module per receiver.

Every message is a frozen struct. Import the module, so that the receiver is in
the name: ``ownership.RegisterSession(...)``, ``gateway.Call(...)``.
"""

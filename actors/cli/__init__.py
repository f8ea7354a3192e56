"""The command line: what ``larkd`` and its subcommands take, ask the daemon, and print."""

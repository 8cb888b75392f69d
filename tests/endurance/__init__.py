"""A long run in which nothing may grow: real sockets, a real ledger file, faults, fast time."""

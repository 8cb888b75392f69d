"""How fast, how lean and how right presence-manager is, beside its peers. Loopback only.

`python -m benchmarks --help` says how to run it; RESULTS.md has the latest figures.
"""

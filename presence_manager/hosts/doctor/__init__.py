"""`presence-manager doctor`: looks at everything that setting and clearing depend on.

One check is one async function that returns a `Finding`; `examine` goes through them in order.
Nothing is changed, except that `--user` sets and clears that one user.
"""

"""The guard: nothing records on the switch but what a grant started. See docs/guard.md.

``ways`` knows how a recording can start, ``asking`` asks the switch, ``watcher`` is the guard itself, ``scope`` keeps a
recording to caller and agent, ``incidents`` says what was found.
"""

"""The guard: nothing records on the switch but what a grant started. See docs/guard.md.

``ways`` knows how a recording can start, ``asking`` asks the switch, ``watcher`` is the guard, a
:class:`~ivr_consent.pbx.watching.Watch`, ``scope`` keeps a recording to caller and agent.
"""

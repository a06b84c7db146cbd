"""The guard on FreeSWITCH, as on Asterisk: ``asking``, ``watcher`` and ``scope``."""

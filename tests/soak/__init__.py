"""The soak, ``make soak``: random callers for minutes, faults in between, and at the end every call accounted for."""

"""The call flow, the notice and the decision: pure, without clock, I/O or third-party imports."""

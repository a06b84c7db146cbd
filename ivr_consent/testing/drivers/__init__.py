"""Drivers: each plays scenarios on one kind of switch and gives a verdict on each."""

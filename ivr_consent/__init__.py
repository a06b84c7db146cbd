"""Explicit consent before a call is recorded: no recorded second without proof."""

__version__ = "0.1.0"

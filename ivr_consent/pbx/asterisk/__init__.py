"""Asterisk: AGI to speak with a call, the manager interface to know when a key was pressed."""

"""Drafters: how the small model writes a window of candidates."""

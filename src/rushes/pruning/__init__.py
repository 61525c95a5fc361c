"""Scorers: which video tokens the draft gets to see."""

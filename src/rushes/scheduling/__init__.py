"""Schedules: what runs when, and who rolls back."""

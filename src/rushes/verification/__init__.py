"""Verifiers: pure functions of a window and the target's logits."""

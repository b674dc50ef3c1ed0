"""Learned world models: the contract, the families behind it, and how one is fitted, saved and loaded."""

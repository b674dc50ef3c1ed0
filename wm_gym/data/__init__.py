"""Recorded episodes: how they are stored, filmed and cut into training windows."""

"""Imagined worlds behind the interfaces of Gymnasium and stable-baselines3."""

"""A robotics simulation environment backed by a learned world model."""

__version__ = "0.1.0"

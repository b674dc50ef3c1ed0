"""The physics engine: which robots there are, how they are drawn, and how episodes are recorded."""

"""What was imagined against what the physics engine does, with intervals."""

"""What acts: policies trained with stable-baselines3, their export, and the panel that the report compares."""

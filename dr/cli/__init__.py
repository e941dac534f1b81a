"""FACES: what people and cron type, and what they get back."""

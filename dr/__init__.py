"""Disaster recovery that is proven: plans, encrypted backups, and drills that measure RTO and RPO."""

__version__ = "0.1.0"

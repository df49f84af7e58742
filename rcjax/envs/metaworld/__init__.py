"""Metaworld on MJX: the Sawyer arm, scenes that tasks share, and the tasks."""

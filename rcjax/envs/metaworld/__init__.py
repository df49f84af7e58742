"""Metaworld on MJX: the Sawyer arm, the scenes that tasks share, and the tasks."""

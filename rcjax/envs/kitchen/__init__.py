"""Franka Kitchen on MJX: the scene, its tasks, controls and experts."""

"""Scenes that several tasks share: their proxies for collision, and the object's pose in the observation."""

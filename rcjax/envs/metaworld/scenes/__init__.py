"""Scenes that several tasks share: proxies, and what the observation says of the object."""

"""Metaworld's tasks: one file each, and the reward terms they share."""

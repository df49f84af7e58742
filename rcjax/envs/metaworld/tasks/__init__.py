"""Metaworld's fifty tasks, a file each: where the object may start, the goal, the reward, the prompt."""

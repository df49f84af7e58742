"""Rewards that PPO learns from, each behind the interface `source.RewardSource`: RoboCLIP's, and its rivals'.

`video` is RoboCLIP's, `dense` the task's own, and `adversarial` has GAIL and AIRL. `cloning` learns from no reward, but
stands in the same place. `choose.make_source` returns the one that a config names.
"""

"""Builds every object once, starts and stops them.

Nothing is imported here: a command asks `alone` whether a daemon runs, and needs none of what a daemon is made of.
"""

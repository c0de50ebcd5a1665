"""Builds every object once, starts them in order, stops them in the other."""

from proxyd.daemon.process import run

__all__ = ["run"]

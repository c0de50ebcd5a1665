"""What pytest is not to collect here: the example is a package of its own, tested where it is installed."""

collect_ignore = ["example"]

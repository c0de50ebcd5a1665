"""The HTTP API, on the control socket."""

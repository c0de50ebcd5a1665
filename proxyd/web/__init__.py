"""The HTTP API on the control socket, and what the `web` listener answers without a token."""

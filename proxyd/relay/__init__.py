"""Between the client and the provider: what the person's mail client is pointed at."""

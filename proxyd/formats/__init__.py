"""Pure, sans-I/O readings and writings of mail and wire formats."""

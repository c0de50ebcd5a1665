"""YAML to frozen objects; the only reader of YAML."""

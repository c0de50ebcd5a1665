"""Pure decisions, one per module; each answer carries its because."""

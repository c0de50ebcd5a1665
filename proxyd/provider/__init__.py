"""The account's real servers: submitting mail, IMAP commands, IDLE without a thread."""

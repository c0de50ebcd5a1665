"""The CRM's side: everything that leaves the outbox."""

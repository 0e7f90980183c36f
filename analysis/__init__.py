"""From ledgers to a report. Reads what is on storage, never Ray; imports neither torch nor Ray."""

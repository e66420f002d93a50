"""Work that is killed at random moments, and begun again, ends as if it never had been (`python -m tests.kills`)."""

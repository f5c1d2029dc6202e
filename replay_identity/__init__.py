"""Tell session-replay vendors who your users are."""

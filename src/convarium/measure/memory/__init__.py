"""The most memory that a network needs at once, worked out from its graph of operations."""

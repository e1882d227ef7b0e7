"""Downloads, verifies and unpacks files."""

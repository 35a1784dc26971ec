"""What people look at: tables and figures from plain scores and arrays."""

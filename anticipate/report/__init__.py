"""What people look at: tables in the papers' layout and figures."""

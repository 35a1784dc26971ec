"""What trained networks do: which experts they choose and what their attention follows."""

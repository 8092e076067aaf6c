"""What Tocsin costs, measured beside a floor that does the same work with nothing else in it."""

"""What the benchmark of strength does around the methods and `protect verify`."""

"""What `speed.py` measures, one module a kind of cost."""

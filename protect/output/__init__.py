"""What is published: the PNG bytes, their names, and how far they are from the originals."""

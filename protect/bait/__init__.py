"""BAIT: the bi-level loop that binds noise to incorrect targets. Tensors in, tensors out."""

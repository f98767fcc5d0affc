"""Attacks on the protection: what a determined stranger does before or while training."""

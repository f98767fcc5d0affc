"""Training on protected pictures as a stranger would, and judging what was learned."""

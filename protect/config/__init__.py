"""Settings of the commands: what can be chosen, how values are spelled, and the whole of each."""

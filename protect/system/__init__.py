"""What the operating system and the hardware offer: files that are whole or absent, and devices."""

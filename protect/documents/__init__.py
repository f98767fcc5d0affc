"""The documents that the commands write: their schemas, reading and writing; no torch."""

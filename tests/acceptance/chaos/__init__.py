"""Proof that a study survives what happens to its workers: real kills, counted and certified."""

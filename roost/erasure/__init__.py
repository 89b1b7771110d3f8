"""Erasing people: what to write so that every role lets go of them, and a search that shows what is left. Deletes no topic."""

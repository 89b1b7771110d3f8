"""User state: who a user says to be and what the user did lately, as a set that order and duplicates cannot change."""

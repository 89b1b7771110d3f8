"""All roles on one machine, for trying Roost out and for its own demo. A cluster uses the containers instead."""

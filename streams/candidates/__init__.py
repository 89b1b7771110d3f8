"""The fold of candidates: what inputs make of them, one partition at a time. Embeds nothing and talks to no broker."""

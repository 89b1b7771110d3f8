"""Learning: two towers, what they are pulled towards and away from, and the loop. Knows no topics, files or gates."""

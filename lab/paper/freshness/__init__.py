"""What freshness is worth: engagement against the delay from publish to retrievable. Benches measure how long Roost's own is."""

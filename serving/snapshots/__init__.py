"""Indexes on disk: written whole, verified byte by byte, refused with a sentence. Knows no Kafka client, no HTTP."""

"""From embedding records to an index: decoding, deletes in every epoch, expiry, coverage. Reads no topic, answers no query."""

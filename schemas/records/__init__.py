"""Typed records, one class an Avro subject. Bytes become these at the edge; everything further in trusts them."""

"""The models of the tables: how each is trained, and how trained ones are joined. Measures none of them."""

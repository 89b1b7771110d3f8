"""HTTP around a retriever and a node's health. Decides nothing about epochs, users or candidates."""

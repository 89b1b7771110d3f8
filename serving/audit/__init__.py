"""The node's doubts about its own indexes: live queries answered again exactly, new candidates looked for, builders watched."""

"""The operators' pages: what the topics and nodes say, drawn; commands handed on to the controller. Decides nothing itself."""

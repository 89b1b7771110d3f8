"""The contracts on the wire: how every process of ours talks to the broker. Knows the rules, not the roles."""

"""Towers that train on what they served themselves, day after day. The schedule's topics and rollouts are not played here."""

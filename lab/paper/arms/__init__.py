"""Canaries of recipes that keep training: does the sign they measure agree with what each recipe would do alone?"""

"""Writes the tables of docs/ that follow from the code: parameters, errors, routes, fields."""

"""The equations in NumPy, independent of the tables that conversion uses."""

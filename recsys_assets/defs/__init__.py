"""Folder of `dg scaffold defs`: definitions of your own beside the graph of the targets; all in it is loaded."""

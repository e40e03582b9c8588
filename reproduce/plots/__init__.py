"""The paper's figures, each drawn from a table that holds exactly the plotted numbers.

Every ``draw`` takes a table and labels and returns a figure, and
`reproduce.plots.style.save` writes both. Nothing here reads a study, and nothing needs a display.
"""

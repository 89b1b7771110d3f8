"""The paper's figures as experiments: each gives rows of figures, drawn by `lab.paper.shown`."""

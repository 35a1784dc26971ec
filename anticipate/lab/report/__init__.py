"""`anticipate report`: the papers' tables, figures and verdicts from finished runs."""

"""The report: one self-contained HTML page with its figures and tables, made from lift.csv, the cells and run.json."""

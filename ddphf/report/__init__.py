"""The report: one page of chapters and tables, made from result records only."""

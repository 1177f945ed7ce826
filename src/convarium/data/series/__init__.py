"""Time series: tables, .ts files, arrays and sound, and what a network gets of them."""

"""Texts: tables and files of them, tokens, and what training makes of them."""

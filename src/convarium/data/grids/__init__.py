"""Gridded fields: from NetCDF and Zarr to pairs of coarse and fine fields, and to climatologies."""
